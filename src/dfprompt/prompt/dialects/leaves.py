"""From nested brackets to the pieces of a DF-Prompt: every word with its interval and its weight.

Importers describe a prompt as a tree of Text, Emphasis and Schedule. Intervals count the share of
the run that is done, half-open [begin, end), as exact decimals.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from typing import NamedTuple

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.effect import MAX_WEIGHT, MIN_WEIGHT
from dfprompt.prompt.exact import complement, format_decimal, round_places
from dfprompt.prompt.tags import split_tags

_CONTEXT = Context(prec=40)
ZERO, ONE = Decimal(0), Decimal(1)


@dataclass(frozen=True, slots=True)
class Text:
    text: str


@dataclass(frozen=True, slots=True)
class Emphasis:
    """Children with a factor on their weight, or (replace) with this weight whatever stands around."""

    children: Sequence[Node]
    weight: Decimal
    replace: bool = False


class Segment(NamedTuple):
    """One stretch of a schedule."""

    children: Sequence[Node]
    begin: Decimal
    end: Decimal


@dataclass(frozen=True, slots=True)
class Schedule:
    segments: Sequence[Segment]


Node = Text | Emphasis | Schedule


class _Leaf(NamedTuple):
    text: str
    begin: Decimal
    end: Decimal
    weight: Decimal


def make_prompt(nodes: Sequence[Node], remarks: Remarks) -> DFPrompt:
    """Turn a tree into a DF-Prompt; linear in its size, however deep it is nested.

    Network tags stand at full range whatever is around them: their tools take them out first.
    """
    return DFPrompt(piece for leaf in _merged(_leaves(nodes, remarks)) for piece in _pieces(leaf, remarks))


def _leaves(nodes: Sequence[Node], remarks: Remarks) -> Iterator[_Leaf]:
    stack = [(node, ZERO, ONE, ONE) for node in reversed(nodes)]
    while stack:
        node, begin, end, weight = stack.pop()
        if isinstance(node, Text):
            if begin < end:
                yield _Leaf(node.text, begin, end, weight)
            elif node.text.strip():
                remarks.assume(f"{quote(node.text.strip())} is at no step and is left out")
        elif isinstance(node, Emphasis):
            inner = node.weight if node.replace else _CONTEXT.multiply(weight, node.weight)
            stack += [(child, begin, end, inner) for child in reversed(node.children)]
        else:
            for segment in reversed(node.segments):
                low, high = max(begin, segment.begin), min(end, segment.end)
                stack += [(child, low, high, weight) for child in reversed(segment.children)]


def _merged(leaves: Iterator[_Leaf]) -> Iterator[_Leaf]:
    """Join neighbours that act alike, so that a phrase stays one span."""
    texts: list[str] = []
    last: _Leaf | None = None
    for leaf in leaves:
        if last is not None and leaf[1:] != last[1:]:
            yield last._replace(text="".join(texts))
            texts = []
        texts.append(leaf.text)
        last = leaf
    if last is not None:
        yield last._replace(text="".join(texts))


def _pieces(leaf: _Leaf, remarks: Remarks) -> Iterator[str | Span]:
    for at, text in enumerate(split_tags(leaf.text)):
        if at % 2:
            yield Span(text)
        elif text:
            yield _piece(leaf._replace(text=text), remarks)


def _piece(leaf: _Leaf, remarks: Remarks) -> str | Span:
    effect = EffectRange(complement(leaf.begin), complement(leaf.end))
    weight = _checked_weight(leaf, remarks)
    if (leaf.begin, leaf.end, weight) == (ZERO, ONE, ONE):
        return leaf.text
    if not leaf.text.strip():
        if (leaf.begin, leaf.end) != (ZERO, ONE) and leaf.text:
            remarks.lose("spaces alone cannot be scheduled; they stay at every step")
        return leaf.text
    return Span(leaf.text, effect, weight)


def _checked_weight(leaf: _Leaf, remarks: Remarks) -> Decimal:
    words = quote(leaf.text.strip())
    if not MIN_WEIGHT <= leaf.weight <= MAX_WEIGHT:
        raise ConversionError(
            f"{words} has a weight of {leaf.weight:.6g}; a DF-Prompt's go from {MIN_WEIGHT} to {MAX_WEIGHT}"
        )
    rounded = round_places(leaf.weight)
    if rounded != leaf.weight:
        remarks.lose(f"the weight {leaf.weight:.10g} of {words} is rounded to {format_decimal(rounded)}")
    if not rounded:
        remarks.assume(f"{words} has weight 0, which removes it here; elsewhere its place in the text stays")
    return rounded
