"""Alternation, `[cat|dog]`: one of several texts per step, as spans, once the number of steps is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from dfprompt.prompt.ast import EffectRange, Span
from dfprompt.prompt.exact import complement, share

MOST_TURNS = 20_000  # of one prompt: text is untrusted, and a span per turn is made


def split_entries(pieces: Sequence[str]) -> list[list[str]]:
    """Cut words and network tags by turns, as a bracket holds them, at every `|` of the words.

    >>> split_entries(["cat|dog ", "<lora:fur:1>", "|"])
    [['cat'], ['dog ', '<lora:fur:1>', ''], ['']]
    """
    entries: list[list[str]] = [[]]
    for place, piece in enumerate(pieces):
        first, *others = [piece] if place % 2 else piece.split("|")
        entries[-1].append(first)
        entries += [[other] for other in others]
    return entries


def unroll(entries: Sequence[Sequence[str]], steps: int) -> Iterator[Span]:
    """Yield the spans of every turn: entry i at the steps i, i + n, i + 2n, ... of n entries.

    >>> [str(span) for span in unroll([["cat"], ["dog"]], 3)]
    ['[cat:1->0.7]', '[dog:0.7->0.4]', '[cat:0.4->0]']
    """
    for step in range(steps):
        turn = EffectRange(complement(share(step, steps)), complement(share(step + 1, steps)))
        for words in entries[step % len(entries)]:
            if words.strip():
                yield Span(words, turn)
