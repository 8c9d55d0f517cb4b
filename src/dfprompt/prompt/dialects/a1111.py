r"""AUTOMATIC1111's prompt text as its version 1.10 and Forge read it, stage by stage.

1. A `#` hides the rest of its line. 2. Network tags are taken out. 3. A `: number` at the very end is the
weight of the whole prompt. 4. Schedules: `[a:b:when]` is a until `when`, then b; `[b:when]` and `[a::when]`
leave one side empty; `[a|b]` changes at every step. A share (with a point) is truncated to a step k, and the
first text runs while the step, from 0, is at most k. Brackets that fit no form are words; a `|` outside of
`[a|b]`, or a backslash before a line's end, makes words of every schedule. 5. Emphasis in the text of each
step (see `emphasis.read_a1111`), BREAK included. AND makes several prompts of one and is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects.brackets import Brackets, Frame, spelling
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.emphasis import read_a1111
from dfprompt.prompt.dialects.overlay import (
    ONE,
    ZERO,
    Branch,
    Budget,
    Group,
    Interval,
    Node,
    Schedule,
    Words,
    read_over,
)
from dfprompt.prompt.exact import MAX_PLACES, decimal_places, round_places, share
from dfprompt.prompt.tags import split_tags

_WHOLE_LINE = re.compile(r"(^|\n)#[^\n]*(\n|$)")
_REST_OF_LINE = re.compile(r"#[^\n]*(\n|$)")
_AND = re.compile(r"\bAND\b")
_PROMPT_WEIGHT = re.compile(r"\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+))$")
_LONGEST_WEIGHT = 60
_TOKEN = re.compile(r"\\.|[\[\]():|]|[^\\\[\]():|]+")
_MARKS = re.compile(r"[\[\]():]+")
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


class Run(NamedTuple):
    """The run a text is read for: its steps (None: not known), and which pass of two it is."""

    steps: int | None
    second_pass: bool = False


def read(
    text: str, steps: int | None, remarks: Remarks, *, second_pass: bool = False, whole: bool = False
) -> DFPrompt:
    """Read A1111's text; without a number of steps shares pass as written and step numbers are refused.

    `second_pass`: what the second ("hires") pass of as many steps reads, where times go from 1.0 to 2.0.
    `whole`: refuse brackets and colons that fit no form.
    """
    budget = Budget()
    pieces = split_tags(_strip_comments(text, remarks))
    tags = list(_tags(pieces))
    plain = _strip_prompt_weight("".join(pieces[::2]), remarks)
    if _AND.search(plain):
        raise ConversionError(
            "A1111's AND cannot be expressed: it draws several prompts into one picture, and a DF-Prompt is "
            'one; write the parts as one text, or "and" in lower case'
        )
    budget.spend(sum(2 * plain.count(mark) for mark in "[]():|\\"))
    reader = _Reader(Run(steps, second_pass), remarks, budget)
    nodes = reader.read(plain)
    if whole and (reader.strays or reader.gave_up):
        raise ConversionError("some brackets or colons of this text fit no form of A1111's")
    return read_over([*tags, *nodes], read_a1111, budget, remarks)


def _strip_comments(text: str, remarks: Remarks) -> str:
    if "#" not in text:
        return text
    remarks.assume('A1111 hides what stands between "#" and the end of the line; it is left out')
    return _REST_OF_LINE.sub("\n", _WHOLE_LINE.sub("\n", text))


def _strip_prompt_weight(text: str, remarks: Remarks) -> str:
    """The weight behind the last colon of a prompt, `a cat :3`, is not words but a factor of the guidance."""
    bare = text.rstrip()
    # The pattern is tried on the end alone: from the front it would look at every colon.
    found = _PROMPT_WEIGHT.search(bare, max(0, len(bare) - _LONGEST_WEIGHT))
    if found is None:
        return text
    remarks.lose(
        f"{quote(found[0].strip())} at the end is the weight of the whole prompt in A1111 (guidance times "
        f"{found[1]}), not words; multiply the guidance instead"
    )
    return bare[: found.start()]


def _tags(pieces: list[str]) -> Iterator[Words]:
    """The tags at the places they were taken from; they act all the time, whatever stood around them."""
    at = 0
    for number, (words, tag) in enumerate(zip(pieces[::2], pieces[1::2], strict=False)):
        at += len(words)
        yield Words(at, "", tag, order=number - len(pieces))


class _Reader(Brackets):
    """The schedules of a text, in one pass; a bracket that fits no form takes those around it along."""

    def __init__(self, run: Run, remarks: Remarks, budget: Budget) -> None:
        super().__init__()
        self.clock = _Clock(run, remarks, budget)
        self.remarks = remarks
        self.strays: set[int] = set()  # where brackets and colons stand that fit no form
        self.schedules: list[tuple[int, int]] = []
        self.gave_up = False

    def read(self, text: str) -> list[Node]:
        at = 0
        for match in _TOKEN.finditer(text):
            if match.start() > at or not self._take(match[0], match.start()):
                return self._give_up(text, match.start())
            at = match.end()
        if at < len(text) or not self._fall():
            return self._give_up(text, at)
        if self.strays:
            self._refuse_ambiguity(text)
        return self.stack[0].spelled()

    def _refuse_ambiguity(self, text: str) -> None:
        """Where brackets without a form touch both ends of a schedule, A1111's grammar has two readings."""
        marks = {at for match in _MARKS.finditer(text) if self._touched(match) for at in range(*match.span())}
        for start, end in self.schedules:
            # The start of the text counts as one of them: `[a:b:0.5]: c` has two readings, too.
            left, right = text[max(0, start - 1) : start + 2 : 2], text[end - 1 : end + 2 : 2]
            if (start in marks or end in marks) and _MARKS.search(left) and _MARKS.search(right):
                raise ConversionError(
                    f"the schedule {quote(text[start : end + 1])} stands between brackets or colons, one of "
                    "which is not closed or fits no form: A1111 may take the schedule for words; close them, "
                    "or write a backslash before those that are words"
                )
            behind = _MARKS.match(text, end + 1)
            if behind and ":" in behind[0] and self._touched(behind):
                self.remarks.assume(
                    f"the colon behind {quote(text[start : end + 1])} may make A1111 take the schedule for "
                    "words at one start and not at the next; a backslash before it, \\:, says it is a word"
                )

    def _give_up(self, text: str, at: int) -> list[Node]:
        self.gave_up = True
        cause = (
            "a backslash with nothing behind it" if text[at : at + 1] == "\\" else 'a "|" outside of [a|b]'
        )
        if any(mark in text for mark in "[:"):
            self.remarks.assume(
                f"{cause} makes A1111 take every schedule of this prompt for words; so does this"
            )
        return [Words(0, text)]

    def _touched(self, marks: re.Match[str]) -> bool:
        return any(at in self.strays for at in range(*marks.span()))

    def _fall(self) -> bool:
        for frame in self.stack[1:]:
            self.strays.add(frame.offset)
            self.strays.update(mark.offset for mark in frame.marks)
        return self.fall()

    def _take(self, token: str, offset: int) -> bool:
        """Take one token; False where A1111 gives up on the schedules of the whole prompt."""
        top = self.stack[-1]
        if token in ("(", "["):
            self.open(token, offset)
        elif token in (")", "]"):
            return self._close(token, offset)
        elif token == "|":
            if top.opening != "[":
                return False
            self.split(Words(offset, token))
        elif token == ":" and top.opening:
            self.split(Words(offset, token))
        else:
            if token == ":":
                self.strays.add(offset)
            self.add(Words(offset, token))
        return True

    def _close(self, token: str, offset: int) -> bool:
        top = self.stack[-1]
        if top.opening + token == "()" and len(top.marks) < 2:
            node: Node | None = Group([*top.spelled(), Words(offset, token)])
        elif top.opening + token == "[]":
            node = self._square(top, offset)
        else:
            node = None
        if node is None:
            self.strays.add(offset)
            fell = self._fall()
            self.add(Words(offset, token))
            return fell
        self.stack.pop()
        self.add(node)
        return True

    def _square(self, frame: Frame, offset: int) -> Node | None:
        """What square brackets mean; None where they fit no form."""
        marks = {mark.text for mark in frame.marks}
        if not marks:
            return Group([*frame.spelled(), Words(offset, "]")])
        if marks == {"|"}:
            self.schedules.append((frame.offset, offset))
            turns = self.clock.turns(len(frame.parts))
            return Schedule([Branch(part, turn) for part, turn in zip(frame.parts, turns, strict=True)])
        when = spelling(frame.parts[-1])
        if "|" in marks or len(frame.marks) > 2 or when is None or not (found := _WHEN.fullmatch(when)):
            return None
        self.schedules.append((frame.offset, offset))
        border = self.clock.border(found[1])
        if len(frame.marks) == 2 and _WHEN.fullmatch(spelling(frame.parts[1]) or ""):
            first, then = (spelling(part) or "..." for part in frame.parts[:2])
            self.remarks.assume(
                f"{quote(then)} is a word to A1111, in the place of {quote(first)}; from one step to another "
                f"is [[{first}:{then.strip()}]::{found[1]}]"
            )
        before = [Branch(frame.parts[0], [(ZERO, border)])] if len(frame.marks) == 2 else []
        return Schedule([*before, Branch(frame.parts[-2], [(border, ONE)])])


@dataclass
class _Clock:
    """When A1111 switches, in shares of the run that are done."""

    run: Run
    remarks: Remarks
    budget: Budget
    by_count: dict[int, list[list[Interval]]] = field(default_factory=dict)

    def border(self, written: str) -> Decimal:
        """Where a schedule switches."""
        try:
            number = Decimal(written)
        except ArithmeticError as error:
            raise ConversionError(
                f"{quote(written)} is no time to switch at; write a share, such as 0.5"
            ) from error
        if self.run.steps is None:
            return self._share(written, number)
        steps = self.run.steps
        over = number - (1 if "." in written else steps) if self.run.second_pass else number
        value = float(over) * steps if "." in written else float(over)
        k = min(steps, int(value)) if abs(value) < 1e9 else (steps if value > 0 else 0)
        if not self.run.second_pass and number > (1 if "." in written else steps):
            self.remarks.assume(f"the switch at {written} is in the second pass: `dfprompt plan --pass 2`")
        return share(0 if k < 1 else min(k + 1, steps), steps)

    def _share(self, written: str, number: Decimal) -> Decimal:
        if "." not in written:
            raise ConversionError(
                f"{quote(written)} counts steps, and the number of steps is not given: name it, --steps 20, "
                "or write a share of the steps with a point, such as 0.5"
            )
        self.remarks.assume(
            "shares pass as written; A1111 runs the first text one step longer (name the steps to get that)"
        )
        if number > 1:
            self.remarks.assume(f"the switch at {written} is in the second pass: `dfprompt plan --pass 2`")
        inside = min(max(number, ZERO), ONE)
        if decimal_places(inside) > MAX_PLACES:
            self.remarks.lose(f"the share {inside} is rounded to {MAX_PLACES} places")
        return round_places(inside)

    def turns(self, count: int) -> list[list[Interval]]:
        """When each of several alternating texts acts: the first at steps 0 and 1, then one step each."""
        steps = self.run.steps
        if steps is None:
            raise ConversionError(
                "A1111's alternation [a|b] changes its words at every step, and the number of steps is not "
                "given: name it, --steps 20"
            )
        self.remarks.assume(f"alternation is unrolled over the {steps} steps: a stretch for every turn")
        self.budget.spend(steps + count)
        if count not in self.by_count:
            turns: list[list[Interval]] = [[] for _ in range(count)]
            for step in range(steps):
                turns[(max(step, 1) - 1) % count].append((share(step, steps), share(step + 1, steps)))
            self.by_count[count] = turns
        return self.by_count[count]
