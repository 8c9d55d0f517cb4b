r"""ComfyUI's prompt text as comfyui-prompt-control 3.0 reads it, stage by stage.

1. Macros (see `comfyui_macros`). 2. Schedules, in shares of the run: `[before:during:after:t0,t1]`,
`[a:t0,t1]`, `[a:b:t0,t1]`, `[a:b:t]`, `[a:t]`, `[a::t]`, `[a:b:c:t]` (c is ignored), `[SEQ:a:t1:b:t2]`,
`[a|b:period]`, and `[a:b:TAG]`, which is a unless a node chooses the tag. Switches are rounded to two
decimals. A `#` hides the rest of its line; `\[ \] \: \# \\` are literal. Brackets that fit no form are
words. `<lora:NAME:W>` loads a network while it acts. 3. In the text of each stretch: keywords and functions
(refused, save BREAK), a `:number` at the end, which is the strength of the conditioning. 4. The core's
emphasis (see `emphasis.read_comfy`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects.brackets import Brackets, Frame, spelling
from dfprompt.prompt.dialects.comfyui_clock import Sampling
from dfprompt.prompt.dialects.comfyui_macros import expand_macros
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.emphasis import BREAK, read_comfy
from dfprompt.prompt.dialects.overlay import (
    ONE,
    ZERO,
    Branch,
    Budget,
    Group,
    Interval,
    Node,
    Piece,
    Schedule,
    Words,
    read_over,
)
from dfprompt.prompt.exact import share
from dfprompt.prompt.tags import split_tags

_NUMBER = r"[+-]?(?:[0-9]*\.[0-9]*|[0-9]+)"
_CONTROL = rf"{_NUMBER}(?:@{_NUMBER})?(?:,{_NUMBER}(?:@{_NUMBER})?)*"
TAG = re.compile(
    rf"<lora:[^:<>]+:{_NUMBER}(?::{_NUMBER})?>|<loractl:[^:<>]+:{_CONTROL}(?::{_CONTROL})?>|<emb:[^:<>]+>"
)
_TOKEN = re.compile(
    rf"(?P<tag>{TAG.pattern})"
    r"|(?P<comment>#[^\n]*)|(?P<escape>\\[\[\]:#\\()])|(?P<other>[\\\[\]():|<>]|[^:\[\]()|\\<>#]+)"
)
_WHEN = re.compile(rf"({_NUMBER}|[A-Z_]+)(?:,({_NUMBER}))?")
_QUOTED = re.compile(r'".+?"')
_FUNCTIONS = (
    "STYLE|MASK_SIZE|SDXL|NOISE|MASK|IMASK|FEATHER|MASKW|AREA|TE_WEIGHT|CLIP_L|TE|SHIFT|SHUFFLE|SEG|SUB|"
    "FILL|ATTN|NOSTRIP"
)
_KEYWORD = re.compile(rf"\b(?:AND|CAT|AVG|COUPLE)\b|\b(?:{_FUNCTIONS})\(|\[CUT:")
_MACRO = re.compile(r"\b(?:SEG|SUB|NOSTRIP)\(")  # put in before anything is read
_BREAK = re.compile(r"\bBREAK\b")
_STRENGTH = re.compile(r":(-?[0-9]\.?[0-9]*)(?:![A-Za-z]+)?\s*$")
_LONGEST_STRENGTH = 80
_PERIOD = 0.1
_EMBEDDING = re.compile(r"(?<!\w)embedding:[^\s,()\[\]]+")


def read(text: str, steps: int | None, remarks: Remarks, *, whole: bool = False) -> DFPrompt:
    """Read prompt-control's text; the number of steps is needed for switches that are step numbers.

    `whole`: refuse brackets and colons that fit no form.
    """
    prompt = read_for(text, Sampling(steps), remarks, whole=whole)
    if any(span.effect_range != span.with_range("full").effect_range for span in prompt.controls):
        remarks.assume(
            "percents count steps (the uniform clock); under shifted schedules ComfyUI switches elsewhere"
        )
    return prompt


def read_on_its_clock(text: str, steps: int | None, remarks: Remarks) -> DFPrompt:
    """Read prompt-control's text with ranges that count what its percents count, sampling time."""
    return read_for(text, Sampling(steps, "timestep"), remarks)


def read_for(text: str, run: Sampling, remarks: Remarks, *, whole: bool = False) -> DFPrompt:
    """Read prompt-control's text for a run whose steps, clock or scheduler are known."""
    budget = Budget()
    text = expand_macros(text.strip(), budget)
    _refuse_keywords(text, _MACRO)
    for found in _EMBEDDING.findall(text)[:1]:
        remarks.assume(
            f"{quote(found)} stays in the text as it is; embeddings are loaded apart from the prompt"
        )
    unknown = next((tag for tag in split_tags(text)[1::2] if not TAG.fullmatch(tag)), None)
    if unknown is not None:
        remarks.assume(
            f"{quote(unknown)} is no tag that prompt-control knows, and words there; it knows <lora:NAME:W>"
        )
    budget.spend(sum(2 * text.count(mark) for mark in "[]():|\\<#"))
    reader = _Reader(run, remarks, budget)
    nodes = reader.read(text)
    if whole and reader.strays:
        raise ConversionError("some brackets or colons of this text fit no form of prompt-control's")
    return read_over(nodes, _Encoder(remarks).read, budget, remarks)


class _Reader(Brackets):
    """The schedules of a text, in one pass."""

    def __init__(self, run: Sampling, remarks: Remarks, budget: Budget) -> None:
        super().__init__()
        self.run, self.remarks, self.budget = run, remarks, budget
        self.strays = False  # brackets and colons that fit no form

    def read(self, text: str) -> list[Node]:
        for match in _TOKEN.finditer(text):
            token, at = match[0], match.start()
            if match["tag"]:
                shown = f"embedding:{token[5:-1]}" if token.startswith("<emb:") else ""
                self.add(Words(at, shown, token, order=0 if shown else -1))
            elif match["comment"]:
                self.remarks.assume('prompt-control hides what stands between "#" and the end of the line')
                self.add(Words(at, ""))
            elif match["escape"]:
                self.add(Words(at, token if token[1] in "()" else token[1]))
            else:
                self._take(token, at)
        self.strays |= len(self.stack) > 1
        self.fall()
        return self.stack[0].spelled()

    def _take(self, token: str, at: int) -> None:
        top = self.stack[-1]
        if token in ("(", "["):
            self.open(token, at)
        elif top.opening and (token == ":" or (token == "|" and top.opening == "[")):
            self.split(Words(at, token))
        elif token in ("]", ")"):
            self._close(token, at)
        else:
            self.strays |= token == ":"
            if token in ("|", "\\"):  # words, but only outside of all brackets
                self.strays |= len(self.stack) > 1
                self.fall()
            self.add(Words(at, token))

    def _close(self, token: str, at: int) -> None:
        top = self.stack[-1]
        node: Node | None = None
        if top.opening + token == "()":
            node = Group([*top.spelled(), Words(at, token)])
        elif top.opening + token == "[]":
            node = self._square(top, at)
        if node is None:
            self.strays = True
            self.fall()
            self.add(Words(at, token))
        else:
            self.stack.pop()
            self.add(node)

    def _square(self, frame: Frame, at: int) -> Node | None:
        """What square brackets mean; None where they fit no form."""
        marks = "".join(mark.text for mark in frame.marks)
        if not marks:
            return Group([*frame.spelled(), Words(at, "]")])
        if "|" in marks:
            return self._alternation(frame, marks)
        sequence = self._sequence(frame)
        return sequence or self._schedule(frame)

    def _schedule(self, frame: Frame) -> Node | None:
        when = _WHEN.fullmatch(spelling(frame.parts[-1]) or "")
        texts = frame.parts[:-1]
        if when is None or len(texts) > 3:
            return None
        if when[1][0].isalpha() or when[1][0] == "_":
            self.remarks.assume(f"the tag {when[1]} is not chosen: a node would have to choose it")
            return Schedule([Branch(texts[0] if len(texts) > 1 else [], [(ZERO, ONE)])], opaque=True)
        start = self._share(when[1])
        if when[2] is None:
            before, after = (texts[0], texts[1]) if len(texts) > 1 else ([], texts[0])
            return Schedule([Branch(before, [(ZERO, start)]), Branch(after, [(start, ONE)])])
        end = max(start, self._share(when[2]))
        before = texts[0] if len(texts) == 3 else []
        during = texts[1] if len(texts) == 3 else texts[0]
        after = texts[-1] if len(texts) > 1 else []
        intervals = ((ZERO, start), (start, end), (end, ONE))
        return Schedule(
            [Branch(*both) for both in zip((before, during, after), map(_alone, intervals), strict=True)]
        )

    def _sequence(self, frame: Frame) -> Node | None:
        texts, times = frame.parts[1::2], [spelling(part) or "" for part in frame.parts[2::2]]
        fits = len(texts) == len(times) and texts and all(re.fullmatch(_NUMBER, time) for time in times)
        if spelling(frame.parts[0]) != "SEQ" or not fits:
            return None
        branches, at = [], ZERO
        for text, time in zip(texts, times, strict=True):
            until = max(at, self._share(time))
            branches.append(Branch(text, [(at, until)]))
            at = until
        return Schedule(branches, opaque=True)

    def _alternation(self, frame: Frame, marks: str) -> Node | None:
        """`[a|b:period]`: a for one period, b for the next, and so on to the end."""
        texts, period = frame.parts, _PERIOD
        if marks.endswith(":"):
            written = spelling(texts[-1]) or ""
            if not re.fullmatch(_NUMBER, written):
                return None
            texts, period = texts[:-1], _float(written)
            marks = marks[:-1]
        if ":" in marks or not all(texts):
            return None
        if int(period * 100) < 1:
            raise ConversionError(
                f"prompt-control stops at the period {period:g} of [a|b:period]; write 0.01 or more"
            )
        self.remarks.assume(f"alternation is unrolled: {period:g} of the run each")
        self.budget.spend(int(1 / period))
        turns: list[list[Interval]] = [[] for _ in texts]
        number = 0
        while number * period < 1:
            turns[number % len(texts)].append((self._at(number * period), self._at((number + 1) * period)))
            number += 1
        branches = [Branch(text, turn) for text, turn in zip(texts, turns, strict=True)]
        return Schedule(branches, least=self._at(period))

    def _share(self, written: str) -> Decimal:
        """When a switch happens; above 1 it is a step number, if the steps are known."""
        number = _float(written)
        if number > 1 and "." not in written and self.run.steps is not None:
            return self._at(number / self.run.steps)
        if number > 1:
            self.remarks.assume(
                f"the switch at {written} is after the whole run; for step numbers name the steps: --steps 20"
            )
        rounded = _rounded(number)
        if 0 <= number <= 1 and float(rounded) != number:
            self.remarks.assume(f"the share {written} is rounded to {rounded}, as prompt-control does")
        return self._at(number)

    def _at(self, number: float) -> Decimal:
        """A share of sampling time as what the DF-Prompt counts: itself, or the steps done by then."""
        rounded = _rounded(number)
        if self.run.times is None or self.run.clock == "timestep":
            return rounded
        return share(self.run.border_at(Fraction(rounded)), len(self.run.times))


def _alone(interval: Interval) -> list[Interval]:
    return [interval]


def _float(written: str) -> float:
    try:
        return float(written)
    except ValueError as error:
        raise ConversionError(f"prompt-control stops at {quote(written)}, which is not a number") from error


def _rounded(number: float) -> Decimal:
    return min(ONE, max(ZERO, Decimal(repr(round(min(number, 2.0), 2)))))


class _Encoder:
    """What is read in the text of a stretch, once per text: keywords, the strength, chunks, emphasis."""

    def __init__(self, remarks: Remarks) -> None:
        self.remarks = remarks

    def read(self, text: str, budget: Budget) -> list[Piece]:
        _refuse_keywords(text)
        text = self._without_strength(text)
        pieces: list[Piece] = []
        at = 0
        for match in _unquoted(_BREAK, text):
            pieces += _read_chunk(text, at, match.start(), budget)
            pieces.append(Piece(*match.span(), BREAK, ONE, True, -1))
            at = match.end()
        return [*pieces, *_read_chunk(text, at, len(text), budget)]

    def _without_strength(self, text: str) -> str:
        found = _STRENGTH.search(text, max(0, len(text) - _LONGEST_STRENGTH))
        if found is None:
            return text
        if float(found[1]) == 0:
            raise ConversionError(
                f"{quote(found[0])} at the end makes prompt-control leave out the whole prompt; do so too"
            )
        self.remarks.assume(
            f"{quote(found[0].strip())} at the end is the strength of the conditioning in ComfyUI, no words; "
            "for a single prompt it changes nothing"
        )
        # Its place is counted without the spaces in front, as prompt-control does.
        return text[: found.start() - (len(text) - len(text.lstrip()))]


def _read_chunk(text: str, begin: int, end: int, budget: Budget) -> Iterator[Piece]:
    """The emphasis of a chunk without the spaces around it, which prompt-control takes off first."""
    chunk = text[begin:end]
    first = end - len(chunk.lstrip())
    last = max(first, begin + len(chunk.rstrip()))
    if begin < first:
        yield Piece(begin, first, text[begin:first], ONE)
    for piece in read_comfy(text[first:last], budget):
        yield piece._replace(start=piece.start + first, end=piece.end + first)
    if last < end:
        yield Piece(last, end, text[last:end], ONE)


def _unquoted(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The matches that no quotation marks protect."""
    found = list(pattern.finditer(text))
    quoted = [match.span() for match in _QUOTED.finditer(text)] if found else []
    at = 0
    for match in found:
        while at < len(quoted) and quoted[at][1] <= match.start():
            at += 1
        if at == len(quoted) or not (quoted[at][0] < match.start() and match.end() < quoted[at][1]):
            yield match


def _refuse_keywords(text: str, keywords: re.Pattern[str] = _KEYWORD) -> None:
    found = next(_unquoted(keywords, text), None)
    if found is None:
        return
    word = found[0].strip("([")
    what = (
        "makes one conditioning of several texts"
        if word in ("AND", "CAT", "AVG", "COUPLE")
        else "is a function"
    )
    raise ConversionError(
        f"{word} cannot be expressed: it {what} in prompt-control, and a DF-Prompt is one text per step; "
        "draw without it, or write the word in lower case or in quotation marks"
    )
