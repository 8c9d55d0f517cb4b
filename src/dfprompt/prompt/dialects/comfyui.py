"""ComfyUI's prompt text as comfyui-prompt-control reads it: schedules in percent, emphasis in parentheses.

`[before:during:after:t0,t1]`, `[a:t0,t1]`, `[a:b:t]`, `[a:t]`, `[a::t]`, `[SEQ:a:t1:b:t2]`, `[a|b:period]`;
t is the share done, rounded to two decimals. `(w)` is 1.1 and multiplies, `(w:1.2)` sets 1.2 whatever stands
around it; other square brackets are words. The converter counts on the uniform clock: percent is not steps
under shifted schedules.
"""

from __future__ import annotations

import math
import re
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from fractions import Fraction

from dfprompt.errors import ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.leaves import ONE, ZERO, Emphasis, Node, Schedule, Segment, Text, make_prompt
from dfprompt.prompt.dialects.scanner import Frame, Grammar, refuse_keywords, scan
from dfprompt.prompt.dialects.stretches import Stretch, stretches_of
from dfprompt.prompt.exact import format_decimal
from dfprompt.prompt.tags import read_tag

_TIME = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*")
_TIMES = re.compile(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*,\s*(\d+(?:\.\d*)?|\.\d+)\s*")
_EMBEDDING = re.compile(r"(?<!\w)embedding:[^\s,()\[\]]+")
_PERIOD = Decimal("0.1")
_BARE = Decimal("1.1")
_DIGITS = 6  # of a weight, before the point; no pipeline can use a larger one
_ROUNDING = Context(prec=30, rounding=ROUND_HALF_EVEN)
_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]:|"})
_TOP_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]"})


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read prompt-control's text; the number of steps does not matter to shares."""
    for found in _EMBEDDING.findall(text)[:1]:
        remarks.assume(
            f"{quote(found)} stays in the text as it is; embeddings are loaded apart from the prompt"
        )
    grammar = Grammar("ComfyUI", lambda escape: escape[1:], _close, {"(": ":", "[": ":|"})
    nodes = scan(text, grammar, remarks)
    prompt = make_prompt(nodes, remarks)
    if any(not span.effect_range == span.with_range("full").effect_range for span in prompt.controls):
        remarks.assume(
            "percents count steps (the uniform clock); under shifted schedules ComfyUI switches elsewhere"
        )
    return prompt


def _close(frame: Frame, text: str, remarks: Remarks) -> list[Node]:
    return _round(frame, text) if frame.opening == "(" else _square(frame, text, remarks)


def _round(frame: Frame, text: str) -> list[Node]:
    if frame.marks and (number := frame.text_of(len(frame.parts) - 1)) is not None:
        try:
            weight = Decimal(number.strip().replace("_", "x"))
        except InvalidOperation:
            weight = None
        if weight is not None and frame.joined(len(frame.parts) - 1):
            # Weights multiply where they nest: a number of thousands of digits would leave what decimals can.
            if not weight.is_finite() or weight.adjusted() > _DIGITS:
                raise ParseError(
                    f"{quote(number.strip())} is no weight",
                    text=text,
                    offset=frame.marks[-1].offset + 1,
                    expected="a finite number such as 1.2",
                )
            return [Emphasis(frame.joined(len(frame.parts) - 1), weight, replace=True)]
    return [Emphasis(frame.joined(), _BARE)]


def _square(frame: Frame, text: str, remarks: Remarks) -> list[Node]:
    if any(mark.character == "|" for mark in frame.marks):
        return _alternation(frame, text, remarks)
    last = frame.text_of(len(frame.parts) - 1) or ""
    parts = frame.parts[:-1]
    if len(parts) >= 2 and frame.text_of(0) == "SEQ":
        return _sequence(frame, text, remarks)
    if found := _TIMES.fullmatch(last):
        first, second = (_time(t, text, frame, remarks) for t in found.groups())
        if len(parts) not in (1, 3):
            raise _shape(frame, text)
        if first > second:
            raise ParseError(
                f"{first} comes after {second}",
                text=text,
                offset=frame.marks[-1].offset + 1,
                expected="two shares in the order of the run, such as 0.1,0.4",
            )
        during = Segment(parts[-1 if len(parts) == 1 else 1], first, second)
        if len(parts) == 1:
            return [Schedule([during])]
        return [Schedule([Segment(parts[0], ZERO, first), during, Segment(parts[2], second, ONE)])]
    if parts and (found := _TIME.fullmatch(last)):
        if len(parts) > 2:
            raise _shape(frame, text)
        at = _time(found[1], text, frame, remarks)
        before = [Segment(parts[0], ZERO, at)] if len(parts) == 2 else []
        return [Schedule([*before, Segment(parts[-1], at, ONE)])]
    remarks.assume(f"the square brackets at character {frame.offset} hold no schedule and are words")
    return [Text("["), *frame.joined(), Text("]")]


def _sequence(frame: Frame, text: str, remarks: Remarks) -> list[Node]:
    rest = frame.parts[1:]
    segments = []
    at = ZERO
    for index in range(0, len(rest) - 1, 2):
        found = _TIME.fullmatch(frame.text_of(index + 2) or "")
        if found is None:
            raise _shape(frame, text)
        until = max(at, _time(found[1], text, frame, remarks))
        segments.append(Segment(rest[index], at, until))
        at = until
    if len(rest) % 2:
        raise _shape(frame, text)
    return [Schedule(segments)]


def _alternation(frame: Frame, text: str, remarks: Remarks) -> list[Node]:
    """`[a|b:period]`, unrolled: a for one period, b for the next, and so on to the end."""
    choices = frame.parts
    period = _PERIOD
    if frame.marks[-1].character == ":":
        found = _TIME.fullmatch(frame.text_of(len(choices) - 1) or "")
        if found is None:
            raise _shape(frame, text)
        period, choices = _time(found[1], text, frame, remarks), choices[:-1]
    if any(mark.character == ":" for mark in frame.marks[: len(choices) - 1]) or not period:
        raise _shape(frame, text)
    remarks.assume(
        f"the alternation at character {frame.offset} is unrolled: {format_decimal(period)} of the run each"
    )
    count = math.ceil(Fraction(1) / Fraction(period))
    return [
        Schedule(
            [
                Segment(choices[turn % len(choices)], min(ONE, turn * period), min(ONE, (turn + 1) * period))
                for turn in range(count)
            ]
        )
    ]


def _time(written: str, text: str, frame: Frame, remarks: Remarks) -> Decimal:
    number = Decimal(written)
    if number > 1:
        raise ParseError(
            f"{quote(written)} is more than the whole run",
            text=text,
            offset=frame.marks[-1].offset + 1,
            expected="a share of the run, 0 to 1",
        )
    rounded = _ROUNDING.quantize(number, Decimal("0.01"))
    if rounded != number:
        remarks.lose(f"the share {written} is rounded to {rounded}, as ComfyUI does")
    return rounded


def _shape(frame: Frame, text: str) -> ParseError:
    return ParseError(
        "this schedule is of none of the forms",
        text=text,
        offset=frame.offset,
        expected="[before:during:after:t0,t1], [a:t0,t1], [a:b:t], [a:t], [SEQ:a:t1:b:t2] or [a|b:period]",
    )


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write prompt-control's text; with a number of steps each switch falls on its step exactly."""
    refuse_keywords(prompt.plain_text, "ComfyUI")
    out = []
    for text, stretches in stretches_of(prompt, steps, remarks):
        if read_tag(text) is not None:
            out.append(text)
            continue
        for stretch in stretches:
            out.append(_stretch(text, stretch, steps, remarks))
    return "".join(out)


def _stretch(text: str, stretch: Stretch, steps: int | None, remarks: Remarks) -> str:
    begin = percent(stretch.begin, stretch.first, steps, remarks)
    end = percent(stretch.end, None if stretch.last is None else stretch.last + 1, steps, remarks)
    plain = begin == 0 and end == 1 and stretch.weight == 1
    words = text.translate(_TOP_ESCAPED if plain else _ESCAPED)
    if stretch.weight != 1:
        words = f"({words}:{format_decimal(stretch.weight)})"
    if begin == 0 and end == 1:
        return words
    if end == 1:
        return f"[{words}:{_written(begin)}]"
    return f"[{words}::{_written(end)}]" if begin == 0 else f"[{words}:{_written(begin)},{_written(end)}]"


def percent(share_done: Decimal, border: int | None, steps: int | None, remarks: Remarks) -> Decimal:
    """A share done in two decimals; with the border's step known, one that falls on it if there is one."""
    if border is not None and steps is not None:
        if border <= 0 or border >= steps:
            return ZERO if border <= 0 else ONE
        digits = 100 * border // steps
        if digits * steps > 100 * (border - 1):
            candidate = Decimal(digits).scaleb(-2)
            nearest = _ROUNDING.quantize(share_done, Decimal("0.01"))
            fits = 100 * (border - 1) < nearest * 100 * steps <= 100 * border
            return nearest if fits else candidate
    rounded = _ROUNDING.quantize(share_done, Decimal("0.01"))
    if rounded != share_done:
        remarks.lose(
            f"the share {format_decimal(share_done)} is rounded to {rounded}: ComfyUI keeps two decimals"
        )
    return rounded


def _written(share_done: Decimal) -> str:
    return format_decimal(share_done)
