"""prompt-control's macros: `DEF(NAME=text)`, `DEF(NAME(default; ...)=text with $1)`, put in before all else.

`NAME`, `NAME()` and `NAME(a; b)` become the text, with `$1`, `$2`, ... for what stands in the brackets, else
for the defaults; what has neither stays. Macros in macros are put in until nothing changes, ten rounds at
most. Quotation marks protect what is inside of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.dialects.overlay import Budget

_DEF = re.compile(r"\bDEF(?=\()")
_QUOTED = re.compile(r'".+?"')
_PARENTHESIS = re.compile(r"[()]")
_ROUNDS = 10
_MOST_MACROS = 100
_LONGEST = 20_000  # of the text that macros grow to, in characters


class _Macro(NamedTuple):
    name: str
    defaults: tuple[str, ...]
    text: str


class _Call(NamedTuple):
    start: int
    end: int
    inside: str | None  # what stands in the brackets; None without brackets


def expand_macros(text: str, budget: Budget) -> str:
    """Return a text with its macros put in; raises ConversionError for what prompt-control stops at.

    >>> expand_macros("DEF(LIT=lit by $1, $2) a cat LIT(candles; at night)", Budget())
    'a cat lit by candles, at night'
    """
    definitions = list(_calls(text, _DEF, budget))
    if not definitions:
        return text
    if len(definitions) > _MOST_MACROS:
        raise ConversionError(f"this prompt defines more than {_MOST_MACROS} macros; write some of them out")
    macros = [macro for call in definitions if (macro := _define(call.inside or "")) is not None]
    found = _replace(text, [(call, "") for call in definitions])
    for _ in range(_ROUNDS):
        before = found
        for macro in macros:
            found = _put_in(found, macro, budget)
        if found == before:
            return found.strip()
    raise ConversionError(
        "prompt-control stops at these macros: after ten rounds they still hold one another; write one out"
    )


def _define(written: str) -> _Macro | None:
    """What a definition says; one without a name or a text says nothing."""
    head, equals, text = written.partition("=")
    name, bracket, defaults = head.strip().partition("(")
    name = name.strip()
    if not equals or not name:
        return None
    if not re.fullmatch(r"\w+", name):
        raise ConversionError(f"the macro's name {quote(name)} is more than one word; give it a plain name")
    inside = next(_calls(f"X({defaults}", re.compile("X"), Budget()), None) if bracket else None
    given = defaults if inside is None else inside.inside or ""
    return _Macro(name, tuple(map(str.strip, given.split(";"))) if bracket else (), text.strip())


def _put_in(text: str, macro: _Macro, budget: Budget) -> str:
    calls = list(_calls(text, re.compile(rf"\b{macro.name}\b"), budget))
    found = _replace(text, [(call, _filled(macro, call)) for call in calls])
    if len(found) > max(_LONGEST, len(text)):
        raise ConversionError(f"macros make this prompt longer than {_LONGEST:,} characters; write it out")
    return found


def _filled(macro: _Macro, call: _Call) -> str:
    """The text of a macro with the values of one call."""
    values = [] if call.inside is None else [value.strip() for value in call.inside.split(";")]
    text = macro.text
    for given in (values, macro.defaults):
        for number, value in enumerate(given, 1):
            if f"${number}" not in text:
                continue
            if "\\" in value:
                raise ConversionError(
                    f"a backslash in {quote(value)} has a meaning of its own in a macro; write the macro out"
                )
            text = re.sub(rf"\${number}(?![0-9])", value, text)
            if len(text) > _LONGEST:
                raise ConversionError(f"macros make this prompt longer than {_LONGEST:,} characters")
    return text


def _calls(text: str, name: re.Pattern[str], budget: Budget) -> Iterator[_Call]:
    """Every place where a name stands outside quotation marks, with the brackets right behind it."""
    quoted = [match.span() for match in _QUOTED.finditer(text)]
    at = place = 0
    while (match := name.search(text, at)) is not None:
        call = _call(text, match, budget)
        at = call.end
        while place < len(quoted) and quoted[place][1] <= call.start:
            place += 1
        if place == len(quoted) or not (quoted[place][0] < call.start and call.end < quoted[place][1]):
            yield call


def _call(text: str, name: re.Match[str], budget: Budget) -> _Call:
    if text[name.end() : name.end() + 1] != "(":
        return _Call(*name.span(), None)
    level = 0
    for match in _PARENTHESIS.finditer(text, name.end()):
        budget.spend(1)
        level += 1 if match[0] == "(" else -1
        if level == 0:
            return _Call(name.start(), match.end(), text[name.end() + 1 : match.start()])
    raise ConversionError(f"the bracket behind {quote(name[0])} is not closed, and prompt-control needs it")


def _replace(text: str, calls: list[tuple[_Call, str]]) -> str:
    pieces, at = [], 0
    for call, put in calls:
        pieces += [text[at : call.start], put]
        at = call.end
    return "".join([*pieces, text[at:]])
