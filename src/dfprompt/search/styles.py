"""Looks to begin with: words with times and weights, and what to keep out; rules, not learned."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from dfprompt.config import nearest
from dfprompt.errors import ConfigError
from dfprompt.prompt import Span
from dfprompt.search.lexicon import read_span

_DEFAULTS = {"range": "full", "weight": 1}


@dataclass(frozen=True)
class Style:
    """A look: the words that make it, in the order they are taken, and its negative prompt."""

    name: str
    spans: tuple[Span, ...]
    negative: str


@cache
def built_in_styles() -> dict[str, Style]:
    """Return the styles of the package by name.

    >>> list(built_in_styles())[:2]
    ['photo', 'painting']
    """
    text = files("dfprompt.search").joinpath("styles.toml").read_text(encoding="utf-8")
    found = {}
    for name, group in tomllib.loads(text).items():
        spans = tuple(read_span(word, _DEFAULTS) for word in group["words"])
        found[name] = Style(name, spans, str(group["negative"]))
    return found


def find_style(name: str) -> Style:
    """Return a style by name; raises ConfigError naming the nearest.

    >>> find_style("photo").negative.split(", ")[0]
    'illustration'
    """
    styles = built_in_styles()
    if name not in styles:
        raise ConfigError(f"there is no style {name!r}; {nearest(name, list(styles))}")
    return styles[name]
