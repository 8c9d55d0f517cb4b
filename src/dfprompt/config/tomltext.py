"""Writing TOML: the plain values a configuration holds, in the order of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tomli_w


def to_toml(tables: Mapping[str, Any]) -> str:
    """The text of a TOML file that reads back as `tables`; keys whose value is None are left out.

    Raises TypeError for a value that TOML cannot hold.

    >>> print(to_toml({"seed": 1, "reward": {"c": 20.0, "name": "mini"}}), end="")
    seed = 1
    <BLANKLINE>
    [reward]
    c = 20.0
    name = "mini"
    """
    return tomli_w.dumps(_ready(tables))


def _ready(value: Any) -> Any:
    """Without what is None, and without lone surrogates, which no file of TOML can hold."""
    if isinstance(value, Mapping):
        return {_ready(key): _ready(each) for key, each in value.items() if each is not None}
    if isinstance(value, list | tuple):
        return [_ready(each) for each in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
