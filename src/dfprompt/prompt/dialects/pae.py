"""The form of PAE's published code: `[text:LOW-HIGH:WEIGHT]`, the range in time left, low to high."""

from __future__ import annotations

import re
from decimal import Decimal

from dfprompt.errors import Fix, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span
from dfprompt.prompt.dialects.checking import check_written
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.effect import MAX_WEIGHT
from dfprompt.prompt.exact import MAX_PLACES, decimal_places, format_decimal, round_places
from dfprompt.prompt.tags import explain_tag

_BRACKET = re.compile(r"[\[\]]")
_NUMBER = re.compile(r"\s*(\d{1,60}(?:\.\d{0,60})?|\.\d{1,60})\s*")


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read the published code's text; it has no escapes, so every bracket must be a span's."""
    pieces: list[str | Span] = []
    at = 0
    while (opening := _next(text, at, "[")) >= 0:
        pieces.append(text[at:opening])
        closing = _next(text, opening + 1, "]")
        if closing < 0:
            raise _error("this bracket is not closed", text, opening, "a ] behind it")
        pieces.append(_span(text, opening, closing, remarks))
        at = closing + 1
    return DFPrompt([*pieces, text[at:]])


def _next(text: str, at: int, wanted: str) -> int:
    found = _BRACKET.search(text, at)
    if found is None:
        return -1
    if found[0] != wanted:
        nested = found[0] == "["
        problem = "a bracket inside a bracket" if nested else "a ] that closes nothing"
        raise _error(problem, text, found.start(), "text without brackets: this form has no escapes")
    return found.start()


def _span(text: str, opening: int, closing: int, remarks: Remarks) -> Span:
    fields = text[opening + 1 : closing].rsplit(":", 2)
    if len(fields) != 3:
        raise _error("a span has a text, a range and a weight", text, opening, "[text:0-0.5:1.25]")
    words, limits, weight = fields
    if not words.strip():
        raise _error("a span without words", text, opening, "words before the first colon")
    at = opening + 2 + len(words)
    low, dash, high = limits.partition("-")
    if not dash:
        raise _error(f"{quote(limits)} is no range", text, at, "two shares of time left, such as 0.5-1")
    start, end = _number(high, text, at, 1, remarks), _number(low, text, at, 1, remarks)
    if start <= end:
        fixed = Fix(at, at + len(limits), f"{high.strip()}-{low.strip()}")
        raise _error(
            f"the range {limits} is empty",
            text,
            at,
            "the lower share first",
            *([fixed] if start < end else []),
        )
    strength = _number(weight, text, at + len(limits) + 1, MAX_WEIGHT, remarks)
    if not strength:
        remarks.assume(
            f"{quote(words.strip())} has weight 0, which removes it here; there its place in the text stays"
        )
    return Span(words, EffectRange(start, end), strength)


def _number(written: str, text: str, offset: int, high: int, remarks: Remarks) -> Decimal:
    found = _NUMBER.fullmatch(written)
    if found is None or Decimal(found[1]) > high:
        raise _error(f"{quote(written.strip())} is no number from 0 to {high}", text, offset, f"0 to {high}")
    number = Decimal(found[1])
    if decimal_places(number) > MAX_PLACES:
        remarks.lose(f"{quote(written.strip())} is rounded to {MAX_PLACES} places")
    return round_places(number)


def _error(problem: str, text: str, offset: int, expected: str, *fixes: Fix) -> ParseError:
    return ParseError(problem, text=text, offset=offset, expected=expected, fixes=fixes)


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write the published code's text: every span with all three fields."""
    out: list[str] = []
    said: list[str | Span] = []
    for piece in prompt.spans:
        if isinstance(piece, str):
            out.append(_words(piece, remarks))
            said.append(out[-1])
            continue
        if piece.tag:
            remarks.lose(explain_tag(piece.tag))
            continue
        weight = piece.weight.first
        if piece.weight.is_ramp:
            weight = round_places((piece.weight.first + piece.weight.last) / 2)
            remarks.lose(f"the ramp {piece.weight} of {quote(piece.text.strip())} becomes its middle")
        effect = piece.effect_range
        limits = f"{format_decimal(effect.end)}-{format_decimal(effect.start)}"
        words = _words(piece.text, remarks)
        out.append(f"[{words}:{limits}:{format_decimal(weight)}]")
        said.append(Span(words, effect, weight))
    text = "".join(out)
    check_written(prompt, said, text, read, steps, "PAE's published code", remarks)
    return text


def _words(text: str, remarks: Remarks) -> str:
    if not _BRACKET.search(text):
        return text
    remarks.lose("square brackets in the words become parentheses: this form has no escapes")
    return text.replace("[", "(").replace("]", ")")
