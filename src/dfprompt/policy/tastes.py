"""Tastes: whom a policy writes for, as names with strengths.

A policy may have learnt several tastes beside everybody's. Each is a vector that is added to the embedding
of every token it reads; a mix adds them, each times its strength, and without any the policy writes for
the crowd:  read(token) = embedding(token) + sum over tastes of strength * vector(taste).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeAlias

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote

Mix: TypeAlias = tuple[tuple[str, float], ...]
STRONGEST = 2.0
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")


def parse_taste(text: str) -> Mix:
    """Read NAME or NAME:STRENGTH, several between commas; raises ConfigError for anything else.

    A strength is from 0 (the crowd's) over 1 (as trained, the default) to 2.

    >>> parse_taste("painted:0.5,graphic")
    (('painted', 0.5), ('graphic', 1.0))
    """
    mix = []
    for part in text.split(","):
        name, colon, number = (each.strip() for each in part.partition(":"))
        try:
            strength = float(number) if colon else 1.0
        except ValueError:
            strength = math.nan
        if not name or not 0 <= strength <= STRONGEST:
            raise ConfigError(
                f"a taste is NAME or NAME:STRENGTH, the strength from 0 to {STRONGEST:g}, several between "
                f"commas, not {quote(part.strip())}"
            )
        mix.append((name, strength))
    if len({name for name, _ in mix}) < len(mix):
        raise ConfigError(f"a taste is named twice in {quote(text)}")
    return tuple(mix)


def show_taste(mix: Mix) -> str:
    """The text that `parse_taste` reads back.

    >>> show_taste((("painted", 0.5), ("graphic", 1.0)))
    'painted:0.5,graphic'
    """
    return ",".join(name if strength == 1 else f"{name}:{strength:g}" for name, strength in mix)


def check_names(names: Sequence[str]) -> list[str]:
    """The names of a policy's tastes; raises ConfigError for what can be none, and for one used twice."""
    bad = [name for name in names if not (isinstance(name, str) and _NAME.fullmatch(name))]
    if bad or len(set(names)) < len(names):
        raise ConfigError(
            f"tastes need different names of small letters, digits and -, not {quote(list(names))}"
        )
    return list(names)


def strengths_of(mix: Mix, names: Sequence[str], policy: str) -> list[float]:
    """The strength of each of a policy's tastes; raises ConfigError for a taste it has not learnt.

    >>> strengths_of((("graphic", 0.5),), ["painted", "graphic"], "mine")
    [0.0, 0.5]
    """
    for name, _ in mix:
        if name not in names:
            has = (
                f"it has {', '.join(names)}"
                if names
                else "it has none; a training with tastes.rewards gives some"
            )
            raise ConfigError(f"the policy {policy} has learnt no taste {quote(name)}; {has}")
    given = dict(mix)
    return [given.get(name, 0.0) for name in names]
