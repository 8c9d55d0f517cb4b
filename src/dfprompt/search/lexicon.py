"""Modifiers with categories, default ranges and default weights: the built-in list and users' own files."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from dfprompt.config import nearest
from dfprompt.errors import ConfigError, InputError
from dfprompt.excerpt import quote
from dfprompt.prompt import EffectRange, Span, Weight
from dfprompt.prompt.exact import to_decimal
from dfprompt.prompt.parser import parse_prompt
from dfprompt.storage import MOST_SETTINGS, read_user_text

OWN = "own"
"""The category of words that no list has."""
_UNKNOWN_RANGE = "late"  # where a word of unknown kind disturbs what was asked least
_HIGHEST = 3  # a weight above tears every picture apart
_GROUP_KEYS, _WORD_KEYS = ("range", "weight", "words"), ("text", "range", "weight")


@dataclass(frozen=True)
class Entry:
    """A modifier with its category; the span holds its default range and weight."""

    category: str
    span: Span

    @property
    def text(self) -> str:
        """The words."""
        return self.span.text


@dataclass(frozen=True)
class Lexicon:
    """Modifiers in the order of their list, each phrase once."""

    entries: tuple[Entry, ...]
    name: str = "lexicon"

    def find(self, text: str) -> Entry | None:
        """Return the entry of a phrase, whatever its case.

        >>> built_in_lexicon().find("Film Grain").span.effect_range
        EffectRange(0.5, 0)
        """
        return next((entry for entry in self.entries if entry.text.casefold() == text.casefold()), None)

    def categories(self) -> dict[str, list[Entry]]:
        """Return the entries by category, both in the order of the list."""
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            groups.setdefault(entry.category, []).append(entry)
        return groups

    def absent_from(self, words: str) -> Lexicon:
        """Return the lexicon without the phrases a prompt holds already."""
        said = words.casefold()
        return Lexicon(tuple(e for e in self.entries if e.text.casefold() not in said), self.name)


@cache
def built_in_lexicon() -> Lexicon:
    """Return the curated list for real models.

    >>> len(built_in_lexicon().entries) > 110
    True
    """
    text = files("dfprompt.search").joinpath("lexicon.toml").read_text(encoding="utf-8")
    return Lexicon(tuple(_read_toml(text, "lexicon.toml")), "built-in")


def make_lexicon(words: Iterable[str], name: str) -> Lexicon:
    """Return a lexicon of bare words; what the built-in list knows has its category and defaults there.

    >>> [(entry.category, str(entry.span)) for entry in make_lexicon(["mist", "8k"], "mine").entries]
    [('atmosphere', '[mist:early:0.75]'), ('own', '[8k:late]')]
    """
    return Lexicon(tuple(_known(word) for word in dict.fromkeys(words)), name)


def read_lexicon(source: Path) -> Lexicon:
    """Read a user's own list: TOML like the built-in one, else one modifier per line, as words or as a span.

    In plain lines, empty lines and lines that begin with # are passed over; `[film grain:late:1.25]` sets
    the defaults of its words. Raises ConfigError naming every line, category or word that is wrong.
    """
    text = read_user_text(source, ConfigError, most=MOST_SETTINGS)
    entries = tuple((_read_toml if source.suffix == ".toml" else _read_lines)(text, str(source)))
    if not entries:
        raise ConfigError(f"{source}: no modifiers; write one per line, or a TOML table per category")
    return Lexicon(entries, source.name)


def _known(word: str) -> Entry:
    found = built_in_lexicon().find(word)
    return Entry(OWN, Span(word, _UNKNOWN_RANGE)) if found is None else Entry(found.category, found.span)


def _read_lines(text: str, where: str) -> list[Entry]:
    found: dict[str, Entry] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.strip()
        if not words or words.startswith("#"):
            continue
        try:
            entry = _read_line(words)
        except InputError as error:
            problems.append(f"{where}, line {number}: {error}")
            continue
        if entry.text.casefold() in found:
            problems.append(f"{where}, line {number}: {quote(entry.text)} stands there twice")
        found.setdefault(entry.text.casefold(), entry)
    _raise(problems)
    return list(found.values())


def _read_line(words: str) -> Entry:
    if not words.startswith("["):
        _check_words(words)
        return _known(words)
    spans = parse_prompt(words).spans
    if len(spans) != 1 or not isinstance(spans[0], Span):
        raise ConfigError(f"{quote(words)} is not one span; write [words:range:weight] and nothing else")
    _check_words(spans[0].text)
    return Entry(_known(spans[0].text).category, spans[0])


def _check_words(words: str) -> None:
    for sign in ",;":
        if sign in words:
            raise ConfigError(f"{quote(words)} holds a {sign!r}, which separates modifiers; one per line")


def _read_toml(text: str, where: str) -> Iterator[Entry]:
    try:
        groups = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{where}: not TOML: {error}") from error
    problems: list[str] = []
    found: dict[str, Entry] = {}
    for category, group in groups.items():
        for place, entry in _read_group(category, group, where, problems):
            if entry.text.casefold() in found:
                problems.append(
                    f"{place}: {quote(entry.text)} stands in {found[entry.text.casefold()].category} already"
                )
            found.setdefault(entry.text.casefold(), entry)
    _raise(problems)
    return iter(found.values())


def _read_group(category: str, group: Any, where: str, problems: list[str]) -> Iterator[tuple[str, Entry]]:
    place = f"{where}, [{category}]"
    if not isinstance(group, Mapping) or not isinstance(group.get("words"), list):
        problems.append(f'{place}: a category needs words = ["...", ...]')
        return
    problems += [
        f"{place}: unknown key {key}; {nearest(key, _GROUP_KEYS)}" for key in group.keys() - set(_GROUP_KEYS)
    ]
    defaults = {"range": group.get("range", "full"), "weight": group.get("weight", 1)}
    for number, word in enumerate(group["words"], 1):
        spot = f"{place}, word {number}"
        given = {"text": word} if isinstance(word, str) else word
        try:
            yield spot, Entry(category, read_span(given, defaults))
        except InputError as error:
            problems.append(f"{spot}: {error}")


def read_span(given: Any, defaults: Mapping[str, Any]) -> Span:
    """Return a word of a list as a span; raises ConfigError or PromptValueError for what is none.

    >>> str(read_span({"text": "mist", "range": "0.5->0.2"}, {"range": "full", "weight": 1}))
    '[mist:0.5->0.2]'
    """
    if not isinstance(given, Mapping) or not isinstance(given.get("text"), str):
        raise ConfigError(
            f'{quote(str(given))}: write "words" or {{ text = "words", range = ..., weight = ... }}'
        )
    for key in given.keys() - set(_WORD_KEYS):
        raise ConfigError(f"unknown key {key}; {nearest(key, _WORD_KEYS)}")
    chosen = {**defaults, **given}
    _check_words(chosen["text"])
    weight = chosen["weight"]
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        raise ConfigError(f"weight must be a number, not {quote(str(weight))}")
    exact = to_decimal(str(weight), "a weight", 0, _HIGHEST)
    if not exact:
        raise ConfigError("weight 0 would leave the words out; give a weight above 0")
    return Span(chosen["text"], _read_range(chosen["range"]), Weight(exact))


def _read_range(given: Any) -> EffectRange:
    if not isinstance(given, str):
        raise ConfigError(f'range must be early, late, full or "START->END", not {quote(str(given))}')
    start, arrow, end = given.partition("->")
    return EffectRange(start.strip(), end.strip()) if arrow else EffectRange.named(given)


def _raise(problems: list[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))
