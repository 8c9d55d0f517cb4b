"""What a tool reads stretch by stretch, laid over one another: one prompt of words with ranges and weights.

A reader goes the way its tool goes: the schedules of a text first (a tree, here), then the text of each
stretch of the run, then the emphasis in that text. `lay_over` puts the stretches back together by where
their words come from. Its cost is bounded: what would take more than `MAX_WORK` steps is a ConversionError.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import groupby, pairwise
from typing import NamedTuple

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span, Weight
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.effect import MAX_WEIGHT, MIN_WEIGHT
from dfprompt.prompt.exact import complement, round_places
from dfprompt.prompt.tags import read_tag

ZERO, ONE = Decimal(0), Decimal(1)
MAX_WORK = 120_000
Interval = tuple[Decimal, Decimal]


class Words(NamedTuple):
    """Text as written, from an offset of the prompt; `tag` where it is a network tag and no words.

    `text` is what the tool's emphasis gets to see of a tag: nothing, or what it puts in its place.
    """

    offset: int
    text: str
    tag: str = ""
    order: int = 0  # of several things at one offset; below 0 before the words


class Branch(NamedTuple):
    """What a schedule says during some intervals, in shares of the run that are done."""

    nodes: Sequence[Node]
    intervals: Sequence[Interval]


@dataclass(frozen=True, slots=True)
class Schedule:
    """Words that change during the run: at most one branch at a time, in the order of the text.

    `opaque`: the tool does not look for borders inside, and what is there changes with the outer ones only.
    """

    branches: Sequence[Branch]
    opaque: bool = False
    least: Decimal = ZERO  # what is inside is read as if this share of the run were done at least


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that belong together, a bracket and its inside: nested, so that no level copies a list."""

    nodes: Sequence[Node]


Node = Words | Schedule | Group


class Piece(NamedTuple):
    """Words of one stretch with their weight; `start` and `end` are offsets of the prompt.

    `text` has the length of its place, except for an escaped character. `is_tag`: no words, but a tag.
    """

    start: int
    end: int
    text: str
    weight: Decimal
    is_tag: bool = False
    order: int = 0


class TooMuchWorkError(ConversionError):
    """Reading a text would take more steps of work than untrusted text may cost."""


@dataclass
class Budget:
    """The work left for one prompt: untrusted text must not cost more than its reader has time for."""

    left: int = MAX_WORK

    def spend(self, work: int) -> None:
        """Take some steps of work off; raises ConversionError when there are too few."""
        self.left -= work
        if self.left < 0:
            raise TooMuchWorkError(
                "this prompt has too many pieces over too many stretches of the run "
                f"(more than {MAX_WORK:,} altogether), or nests too deeply; make it shorter"
            )


Emphasis = Callable[[str, Budget], list[Piece]]


class _Leaf(NamedTuple):
    words: Words
    acting: int  # a bit per stretch


@dataclass
class Stretches:
    """The borders between which nothing changes, in shares done, 0 and 1 included."""

    borders: list[Decimal] = field(default_factory=lambda: [ZERO, ONE])

    @classmethod
    def of(cls, nodes: Iterable[Node], budget: Budget) -> Stretches:
        """Find every border of a tree."""
        found, stack = {ZERO, ONE}, list(nodes)
        while stack:
            node = stack.pop()
            if isinstance(node, Group):
                stack += node.nodes
            elif isinstance(node, Schedule):
                for branch in node.branches:
                    budget.spend(len(branch.intervals))
                    found.update(share for interval in branch.intervals for share in interval)
                    stack += () if node.opaque else branch.nodes
        return cls(sorted(found))

    def __len__(self) -> int:
        return len(self.borders) - 1

    def mask(self, intervals: Sequence[Interval], least: Decimal = ZERO) -> int:
        """The stretches that end within intervals (begin, end], as bits; none is before `least`."""
        bits = 0
        for begin, end in intervals:
            if begin < end:
                first, last = bisect_right(self.borders, begin) - 1, bisect_right(self.borders, end) - 1
                bits |= (1 << last) - (1 << first)
        if least:
            early = (1 << max(0, bisect_left(self.borders, least) - 1)) - 1
            acts = any(begin < least <= end for begin, end in intervals)
            bits = bits | early if acts else bits & ~early
        return bits


def read_over(nodes: Sequence[Node], emphasis: Emphasis, budget: Budget, remarks: Remarks) -> DFPrompt:
    """Read the emphasis in the text of every stretch of a tree, and lay the stretches over one another."""
    stretches = Stretches.of(nodes, budget)
    leaves = list(_leaves(nodes, stretches, remarks))
    readings = [_read_stretch(leaves, at, emphasis, budget) for at in range(len(stretches))]
    return lay_over(readings, stretches, budget, remarks)


def _leaves(nodes: Sequence[Node], stretches: Stretches, remarks: Remarks) -> Iterator[_Leaf]:
    """Every text of a tree with the stretches it acts in; what acts in none is named and left out."""
    everywhere = (1 << len(stretches)) - 1
    stack = [(node, everywhere, ZERO) for node in reversed(nodes)]
    while stack:
        node, acting, least = stack.pop()
        if isinstance(node, Words):
            if acting:
                yield _Leaf(node, acting)
            elif node.text.strip():
                remarks.assume(f"{quote(node.text.strip())} is at no step and is left out")
            continue
        if isinstance(node, Group):
            stack += [(child, acting, least) for child in reversed(node.nodes)]
            continue
        for branch in reversed(node.branches):
            # Even a branch that never acts is walked, once, so that its words are named.
            inner = acting & stretches.mask(branch.intervals, least) if acting else 0
            later = max(least, node.least)
            stack += [(child, inner, later) for child in reversed(branch.nodes)]


def _read_stretch(leaves: Sequence[_Leaf], at: int, emphasis: Emphasis, budget: Budget) -> list[Piece]:
    acting = [leaf.words for leaf in leaves if leaf.acting >> at & 1]
    budget.spend(len(leaves) // 8 + len(acting))
    read = emphasis("".join(words.text for words in acting), budget)
    budget.spend(len(read))
    return list(_at_home(read, acting))


def _at_home(read: Iterable[Piece], acting: Sequence[Words]) -> Iterator[Piece]:
    """Give pieces of a stretch's text the offsets of the prompt, cut where they come from two places."""
    pieces = iter(read)
    piece = next(pieces, None)
    begin = 0
    for words in acting:
        end = begin + len(words.text)
        shift = words.offset - begin
        if words.tag:
            weight = piece.weight if piece is not None and words.text else ONE
            yield Piece(words.offset, words.offset + 1, words.tag, weight, True, words.order)
        while piece is not None and piece.start < end:
            low, high = max(piece.start, begin), min(piece.end, end)
            text = piece.text[low - piece.start : high - piece.start] if _is_verbatim(piece) else piece.text
            # An escape across a border belongs to where it ends.
            if text and not words.tag and (_is_verbatim(piece) or piece.end <= end):
                yield piece._replace(start=low + shift, end=high + shift, text=text)
            if piece.end > end:
                break
            piece = next(pieces, None)
        begin = end


def _is_verbatim(piece: Piece) -> bool:
    return len(piece.text) == piece.end - piece.start and not piece.is_tag


def lay_over(
    readings: Sequence[Sequence[Piece]], stretches: Stretches, budget: Budget, remarks: Remarks
) -> DFPrompt:
    """Put the readings of all stretches together: every stretch of text once per weight it has."""
    cuts = sorted({offset for read in readings for piece in read for offset in (piece.start, piece.end)})
    atoms: dict[tuple[int, int], tuple[str, bool, dict[int, Decimal]]] = {}
    for at, read in enumerate(readings):
        for piece in read:
            for start, text in _cut(piece, cuts):
                budget.spend(1)
                atoms.setdefault((start, piece.order), (text, piece.is_tag, {}))[2][at] = piece.weight
    pieces: list[str | Span] = []
    # A tag stays alone: its offset tells it from its neighbours.
    for (tag_at, _), group in groupby(
        sorted(atoms), key=lambda at: (at if atoms[at][1] else None, atoms[at][2])
    ):
        offsets = list(group)
        text = "".join(atoms[at][0] for at in offsets)
        pieces += _pieces(text, tag_at is not None, atoms[offsets[0]][2], stretches, remarks)
    return DFPrompt(pieces)


def _cut(piece: Piece, cuts: Sequence[int]) -> Iterator[tuple[int, str]]:
    if not _is_verbatim(piece):
        yield piece.start, piece.text
        return
    first, last = bisect_right(cuts, piece.start), bisect_left(cuts, piece.end)
    for low, high in pairwise([piece.start, *cuts[first:last], piece.end]):
        yield low, piece.text[low - piece.start : high - piece.start]


def _pieces(
    text: str, is_tag: bool, weights: Mapping[int, Decimal], stretches: Stretches, remarks: Remarks
) -> Iterator[str | Span]:
    """The text, or a span for every run of stretches with one weight."""
    if not is_tag and not text.strip():
        yield text
        return
    runs = groupby(range(len(stretches)), key=lambda at: weights.get(at))
    for weight, run in runs:
        if weight is None:
            continue
        acting = list(run)
        begin, end = stretches.borders[acting[0]], stretches.borders[acting[-1] + 1]
        rounded = check_weight(text, weight, remarks)
        if (begin, end, rounded) == (ZERO, ONE, ONE) and not is_tag:
            yield text
            continue
        # Words that look like a tag are no tag here: in two spans they stay words.
        parts = [text[:1], text[1:]] if not is_tag and read_tag(text) else [text]
        for part in parts:
            yield Span(part, _effect_range(begin, end), _weight(rounded))


# The spans of a prompt share few ranges and weights: each is made once.
@lru_cache(maxsize=1024)
def _effect_range(begin: Decimal, end: Decimal) -> EffectRange:
    return EffectRange(complement(begin), complement(end))


@lru_cache(maxsize=1024)
def _weight(weight: Decimal) -> Weight:
    return Weight(weight)


def check_weight(text: str, weight: Decimal, remarks: Remarks) -> Decimal:
    """Return a weight as the language writes it; raises ConversionError outside of -10..10."""
    if not weight.is_finite() or not MIN_WEIGHT <= weight <= MAX_WEIGHT:
        shown = f"{weight:.6g}" if weight.is_finite() else str(weight)
        raise ConversionError(
            f"{quote(text.strip())} has a weight of {shown}; "
            f"a DF-Prompt's go from {MIN_WEIGHT} to {MAX_WEIGHT}"
        )
    rounded = round_places(weight)
    if not rounded:
        remarks.assume(
            f"{quote(text.strip())} has weight 0, which removes it here; "
            "elsewhere its place in the text stays"
        )
    return rounded
