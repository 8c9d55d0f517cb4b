r"""SwarmUI's prompt text: `<fromto[0.5]:a, b>`, `<alternate:a, b>`, `<lora:NAME:W>`, ComfyUI's emphasis.

`<fromto[t]:a, b>` is a at the steps below t and b from t on; t below 1 is a share of the steps, else a
step. `<alternate:...>` says its entries in turn, one per step. Entries are separated by `||`, `|` or `,`,
the first of these that is there. What SwarmUI fills in by itself (`<random:..>`, `<wildcard:..>`,
`<var:..>`) or makes another picture of (`<segment:..>`, `<region:..>`) is refused, and so are square
brackets, its inner form of schedules.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects.checking import check_written
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.emphasis import BREAK, read_comfy
from dfprompt.prompt.dialects.overlay import (
    ONE,
    ZERO,
    Branch,
    Budget,
    Interval,
    Node,
    Schedule,
    Words,
    read_over,
)
from dfprompt.prompt.dialects.stretches import Stretch, as_said, stretches_of
from dfprompt.prompt.exact import format_decimal, round_places, share

_TOKEN = re.compile(r"\\[\[\]]|[<>,\[\]]|\|\|?|[^<>,|\[\]\\]+|\\")
_PREFIX = re.compile(r"\s*([A-Za-z]+)(?:\[([^\[\]:]*)\])?(?=[:>])")
_KEPT = frozenset({"lora", "embed", "embedding"})
_FILLED_IN = frozenset(
    {
        *(
            "random",
            "wildcard",
            "wc",
            "var",
            "setvar",
            "macro",
            "setmacro",
            "repeat",
            "preset",
            "p",
            "trigger",
            "param",
        )
    }
)
_OTHERS = frozenset(
    {*("segment", "region", "object", "clear", "base", "refiner", "video", "videoswap", "extend", "edit")}
)
_SCHEDULES = frozenset({"fromto", "alternate", "alt"})
_WHEN = re.compile(r"\s*([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))\s*")
_ESCAPED = str.maketrans({"(": "\\(", ")": "\\)", "[": "\\[", "]": "\\]"})
_MANGLED = re.compile(r"[\\:|\[\]]")


def read(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read SwarmUI's text; `<alternate:..>` and step numbers need the number of steps."""
    budget = Budget()
    return read_over(_Reader(text, steps, remarks, budget).read(), read_comfy, budget, remarks)


class _Reader:
    """One pass: tags are taken whole, for SwarmUI shows control within control as words."""

    def __init__(self, text: str, steps: int | None, remarks: Remarks, budget: Budget) -> None:
        self.text, self.steps, self.remarks, self.budget = text, steps, remarks, budget
        self.by_count: dict[int, list[list[Interval]]] = {}

    def read(self) -> list[Node]:
        nodes: list[Node] = []
        at = 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            assert match is not None
            token, end = match[0], match.end()
            if token in ("[", "]"):
                raise ConversionError(
                    "square brackets are SwarmUI's inner form of schedules; write <fromto[0.5]:a, b>, or "
                    "\\[ and \\] for words in brackets"
                )
            if token == "<" and (found := self._tag(at)) is not None:
                end, node = found
                nodes += [node] if node is not None else []
            else:
                nodes.append(Words(at, token[1] if token in ("\\[", "\\]") else token))
            at = end
        return nodes

    def _tag(self, at: int) -> tuple[int, Node | None] | None:
        """What a tag means, and where it ends; None where a `<` opens no tag that SwarmUI knows."""
        prefix = _PREFIX.match(self.text, at + 1)
        name = "" if prefix is None else prefix[1].lower()
        if prefix is None or name not in _KEPT | _FILLED_IN | _OTHERS | _SCHEDULES | {"break", "comment"}:
            return None
        end = self.text.find(">", prefix.end())
        if end < 0:
            return None
        if name in _FILLED_IN:
            raise ConversionError(f"SwarmUI fills in <{name}:..> by itself before it draws; expand it first")
        if name in _OTHERS:
            raise ConversionError(
                f"<{name}> begins a text for another part or pass; convert the texts one by one"
            )
        inner = self.text[prefix.end() + 1 : end]
        if "<" in inner:
            raise ConversionError(
                f"a tag inside of <{name}> becomes words in SwarmUI; write them side by side"
            )
        if name in _KEPT:
            return end + 1, Words(at, "", self.text[at : end + 1], order=-1)
        if name == "break":
            return end + 1, Words(at, "", BREAK, order=-1)
        if name == "comment":
            return end + 1, None
        return end + 1, self._schedule(name, prefix[2], inner, prefix.end() + 1)

    def _schedule(self, name: str, when: str | None, inner: str, offset: int) -> Schedule:
        separator = next((mark for mark in ("||", "|") if mark in inner), ",")
        branches: list[Node] = []
        at = offset
        for entry in inner.split(separator):
            lead = len(entry) - len(entry.lstrip())
            if found := _MANGLED.search(entry):
                raise ConversionError(
                    f"SwarmUI puts a backslash before {quote(found[0])} in <{name}>, and the encoder gets to "
                    "see it; write the words without"
                )
            branches.append(Words(at + lead, entry.strip()))
            at += len(entry) + len(separator)
        if name == "fromto":
            return self._switch(when, branches)
        if self.steps is None:
            raise ConversionError(f"<{name}> changes at every step; name the number of steps: --steps 20")
        self.remarks.assume(f"<{name}> is unrolled over the {self.steps} steps: a stretch for every turn")
        turns = self._turns(len(branches), self.steps)
        return Schedule([Branch([words], turn) for words, turn in zip(branches, turns, strict=True)])

    def _turns(self, count: int, steps: int) -> list[list[Interval]]:
        """When each of several alternating texts acts: one step each."""
        self.budget.spend(steps + count)
        if count not in self.by_count:
            turns: list[list[Interval]] = [[] for _ in range(count)]
            for step in range(steps):
                turns[step % count].append((share(step, steps), share(step + 1, steps)))
            self.by_count[count] = turns
        return self.by_count[count]

    def _switch(self, when: str | None, branches: list[Node]) -> Schedule:
        found = _WHEN.fullmatch(when or "")
        if found is None or len(branches) != 2:
            raise ConversionError(
                "SwarmUI leaves out a <fromto> without a number or with other than two texts; write "
                "<fromto[0.5]:before, after>"
            )
        border = self._border(Decimal(found[1]))
        before, after = branches
        return Schedule([Branch([before], [(ZERO, border)]), Branch([after], [(border, ONE)])])

    def _border(self, number: Decimal) -> Decimal:
        if number < 1:
            return round_places(max(ZERO, number))
        if self.steps is None:
            raise ConversionError(
                f"<fromto[{number}]> counts steps, and the number of steps is not given: name it, --steps 20"
            )
        return share(min(self.steps, math.ceil(number)), self.steps)


def write(prompt: DFPrompt, steps: int | None, remarks: Remarks) -> str:
    """Write SwarmUI's text; a stretch in the middle of the run needs the number of steps."""
    out: list[str] = []
    said: list[str | Span] = []
    for piece, stretches in stretches_of(prompt, steps, remarks):
        text = piece if isinstance(piece, str) else piece.text
        is_tag = isinstance(piece, Span) and piece.tag is not None
        if is_tag and text != BREAK and isinstance(piece, Span) and not piece.is_neutral:
            remarks.lose(f"SwarmUI loads {quote(text)} for the whole run, whatever its range and weight here")
        for stretch in stretches[: 1 if is_tag else None]:
            out.append(
                ("<break>" if text == BREAK else text) if is_tag else _stretch(text, stretch, steps, remarks)
            )
            if not is_tag:
                borders = (ZERO, ONE) if _needs_steps(stretch, steps) else stretch.shares(steps)
                said += as_said(text, *borders, stretch.weight)
    written = "".join(out)
    check_written(prompt, said, written, read, steps, "SwarmUI", remarks)
    return written


def _needs_steps(stretch: Stretch, steps: int | None) -> bool:
    return steps is None and 0 < stretch.begin and stretch.end < 1


def _stretch(text: str, stretch: Stretch, steps: int | None, remarks: Remarks) -> str:
    words = text.translate(_ESCAPED)
    if stretch.weight != 1:
        words = f"({words}:{format_decimal(stretch.weight)})"
    if _needs_steps(stretch, steps):
        remarks.lose(f"{quote(text.strip())} acts in the middle of the run; SwarmUI needs the steps for that")
        return words
    begins, ends = stretch.begin == 0, stretch.end == 1
    if steps is not None:
        begins, ends = stretch.first == 0, stretch.last == steps - 1
    if begins and ends:
        return words
    lead, tail = words[: len(words) - len(words.lstrip())], words[len(words.rstrip()) :]
    body = words.strip()
    mark = next((mark for mark in (",", "|", "||") if mark not in body), "||")
    if begins:
        return f"{lead}<fromto[{format_decimal(stretch.end)}]:{body}{mark} >{tail}"
    if ends:
        return f"{lead}<fromto[{format_decimal(stretch.begin)}]: {mark}{body}>{tail}"
    assert steps is not None
    assert stretch.first is not None
    assert stretch.last is not None
    turns = [body if stretch.first <= step <= stretch.last else " " for step in range(steps)]
    return f"{lead}<alternate:{mark.join(turns)}>{tail}"
