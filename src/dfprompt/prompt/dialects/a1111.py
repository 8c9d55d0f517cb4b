"""AUTOMATIC1111's prompt text (Forge and SD.Next read it too): schedules in brackets, emphasis, no ranges.

`[a:b:when]` is a until `when`, then b; `[b:when]` and `[a::when]` leave one side empty. `when` is a share of
the steps if it is written with a point, else a step. The converter reproduces what A1111 does: a share is
truncated to a step k, the first text runs while the step (from 0) is at most k, one step longer than the
number says, and a k of 0 or less switches before the first step. So a switch after exactly one step cannot be
written. `(w)` is 1.1, `[w]` 1/1.1, `(w:1.3)` 1.3; nested ones multiply; a backslash makes the next character
literal.
"""

from __future__ import annotations

import re
from decimal import Decimal

from dfprompt.errors import ConversionError, Fix, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.leaves import ONE, ZERO, Emphasis, Node, Schedule, Segment, Text, make_prompt
from dfprompt.prompt.dialects.scanner import Frame, Grammar, refuse_keywords, scan
from dfprompt.prompt.dialects.stretches import Stretch, share, stretches_of
from dfprompt.prompt.exact import MAX_PLACES, decimal_places, format_decimal, round_places
from dfprompt.prompt.tags import read_tag

_WHEN = re.compile(r"\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*")
_WEIGHT = re.compile(r"\s*([+-]?[.\d]+)\s*")
_ROUND, _SQUARE = Decimal("1.1"), ONE / Decimal("1.1")
_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]:|"})
_TOP_ESCAPED = str.maketrans({character: "\\" + character for character in "\\()[]"})


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read A1111's text; without a number of steps, shares pass as written and step numbers are refused."""
    reader = _Reader(steps)
    grammar = Grammar("A1111", lambda escape: escape[1:], reader.close, {"(": ":", "[": ":|"})
    return make_prompt(scan(text, grammar, remarks), remarks)


class _Reader:
    def __init__(self, steps: int | None) -> None:
        self.steps = steps

    def close(self, frame: Frame, text: str, remarks: Remarks) -> list[Node]:
        """The nodes a closed bracket stands for."""
        return self._round(frame, text) if frame.opening == "(" else self._square(frame, text, remarks)

    def _round(self, frame: Frame, text: str) -> list[Node]:
        if frame.marks:
            number = frame.text_of(len(frame.parts) - 1)
            if number is None:
                _refuse_moving_weight(frame)
            elif _WEIGHT.fullmatch(number):
                weight = _number(number, text, frame.marks[-1].offset + 1)
                return [Emphasis(frame.joined(len(frame.parts) - 1), weight)]
        return [Emphasis(frame.joined(), _ROUND)]

    def _square(self, frame: Frame, text: str, remarks: Remarks) -> list[Node]:
        bar = next((mark for mark in frame.marks if mark.character == "|"), None)
        if bar is not None:
            raise ConversionError(
                f"A1111's alternation at character {frame.offset} changes its words at every step, "
                "and a span has one stretch; write one of the words, or give each its own range"
            )
        when = frame.text_of(len(frame.parts) - 1)
        if not frame.marks or when is None or not _WHEN.fullmatch(when):
            if frame.marks:
                remarks.assume(
                    f"the brackets at character {frame.offset} end in no number and are emphasis 1/1.1"
                )
            return [Emphasis(frame.joined(), _SQUARE)]
        if len(frame.parts) > 3:
            raise ParseError(
                "a schedule in A1111 has at most two texts and a number",
                text=text,
                offset=frame.offset,
                expected="[before:after:when]; A1111 would take all of it for plain words",
                suggestion="write \\: for a colon that is a word",
            )
        border = self._border(when, text, frame.marks[-1].offset + 1, remarks)
        segments = [Segment(frame.parts[-2], border, ONE)]
        if len(frame.parts) == 3:
            segments.insert(0, Segment(frame.parts[0], ZERO, border))
        return [Schedule(segments)]

    def _border(self, written: str, text: str, offset: int, remarks: Remarks) -> Decimal:
        """The share done at which A1111 switches."""
        try:
            number = Decimal(written.strip())
        except ArithmeticError as error:
            raise ParseError(
                f"{quote(written.strip())} is no time to switch at",
                text=text,
                offset=offset,
                expected="a share of the steps, such as 0.5, or a step",
            ) from error
        if self.steps is not None:
            value = float(number) * self.steps if "." in written else float(number)
            k = min(self.steps, int(value)) if abs(value) < 1e9 else (self.steps if value > 0 else 0)
            border = 0 if k < 1 else min(k + 1, self.steps)
            return share(border, self.steps)
        if "." not in written:
            raise ParseError(
                f"{quote(written.strip())} counts steps, and the number of steps is not given",
                text=text,
                offset=offset,
                expected="a share of the steps with a point, such as 0.5",
                suggestion="name the number of steps: --steps 20",
            )
        remarks.assume(
            "shares pass as written; A1111 runs the first text one step longer (name the steps to get that)"
        )
        inside = min(max(number, ZERO), ONE)
        if decimal_places(inside) > MAX_PLACES:
            remarks.lose(f"the share {inside} is rounded to {MAX_PLACES} places")
        return round_places(inside)


def _refuse_moving_weight(frame: Frame) -> None:
    texts: list[str] = []
    stack: list[Node] = list(frame.parts[-1])
    while stack:
        node = stack.pop()
        if isinstance(node, Text):
            texts.append(node.text)
        elif isinstance(node, Schedule):
            for segment in node.segments:
                stack += segment.children
        else:
            stack += node.children
    if not re.search(r"[^\s.\d+-]", "".join(texts)):
        raise ConversionError(
            f"the emphasis at character {frame.offset} has a scheduled number for a weight; "
            "write a ramp instead: [words::0.5->1.5]"
        )


def _number(written: str, text: str, offset: int) -> Decimal:
    try:
        return Decimal(written.strip())
    except ArithmeticError as error:
        raise ParseError(
            f"{quote(written.strip())} is not a number",
            text=text,
            offset=offset,
            expected="a weight such as 1.2",
            fixes=(Fix(offset, offset + len(written), "1.2"),),
        ) from error


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write A1111's text, for a run of that many steps if they are given."""
    refuse_keywords(prompt.plain_text, "A1111")
    out = []
    for text, stretches in stretches_of(prompt, steps, remarks):
        if read_tag(text) is not None:
            out.append(text)
            continue
        for stretch in stretches:
            out.append(_stretch(text, stretch, steps, remarks))
    return "".join(out)


def _stretch(text: str, stretch: Stretch, steps: int | None, remarks: Remarks) -> str:
    after, until = _switches(text, stretch, steps, remarks)
    plain = after is None and until is None and stretch.weight == 1
    words = text.translate(_TOP_ESCAPED if plain else _ESCAPED)
    if stretch.weight != 1:
        words = f"({words}:{format_decimal(stretch.weight)})"
    if after is not None:
        words = f"[{words}:{after}]"
    return words if until is None else f"[{words}::{until}]"


def _switches(
    text: str, stretch: Stretch, steps: int | None, remarks: Remarks
) -> tuple[str | None, str | None]:
    """What to write for `from` and `until`; None where the stretch reaches the edge of the run."""
    if steps is None:
        if stretch.begin > 0 or stretch.end < 1:
            remarks.assume(
                "shares are written as they are; A1111 runs a first text one step longer than its share"
            )
        after = None if stretch.begin == 0 else _share(stretch.begin)
        return after, None if stretch.end == 1 else _share(stretch.end)
    assert stretch.first is not None
    assert stretch.last is not None
    after = until = None
    if stretch.first > 0:
        after = _when(text, stretch.first, stretch.begin, steps, remarks)
    if stretch.last < steps - 1:
        until = _when(text, stretch.last + 1, stretch.end, steps, remarks)
    return after, until


def _when(text: str, border: int, written: Decimal, steps: int, remarks: Remarks) -> str:
    """How A1111 says "switch before this step": its share where that truncates right, else a step."""
    if border == 1:
        remarks.lose(
            f"{quote(text.strip())} switches after one step; A1111 cannot say that and switches after two"
        )
    k = max(1, border - 1)
    return _share(written) if int(float(written) * steps) == k else str(k)


def _share(share_done: Decimal) -> str:
    written = format_decimal(share_done)
    return written if "." in written else written + ".0"
