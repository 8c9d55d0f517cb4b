"""From a DF-Prompt to other tools' schedules: each span as stretches of the run with one weight each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from itertools import groupby
from typing import Any, NamedTuple

from dfprompt.errors import ConversionError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, EffectRange, Span
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.overlay import ONE, ZERO
from dfprompt.prompt.exact import complement, round_places, share
from dfprompt.prompt.plan import make_plan
from dfprompt.prompt.tags import read_tag

MOST_OF_RAMPS = 4_000  # stretches of one prompt: text is untrusted, and each is written
_STEPS: Mapping[str, Any] = {}


class Stretch(NamedTuple):
    """Part of a run with one weight: steps first..last of N where N is known, and the shares done.

    `begin` and `end` are shares done, the span's own where the stretch is the whole span, else step borders.
    """

    first: int | None
    last: int | None
    begin: Decimal
    end: Decimal
    weight: Decimal

    def shares(self, steps: int | None) -> tuple[Decimal, Decimal]:
        """Return the shares of the steps done at its borders; its own where the steps are not known."""
        if steps is None or self.first is None or self.last is None:
            return self.begin, self.end
        return share(self.first, steps), share(self.last + 1, steps)


def as_said(text: str, begin: Decimal, end: Decimal, weight: Decimal) -> Iterator[str | Span]:
    """Yield the pieces that say a text between two shares done; none where nothing lies between.

    >>> [str(piece) for piece in as_said("snow", Decimal("0.5"), Decimal(1), Decimal("1.5"))]
    ['[snow:late:1.5]']
    """
    if (begin, end, weight) == (ZERO, ONE, ONE) or not text.strip():
        yield text
    elif begin < end:
        # Words that look like a tag are no tag here: in two spans they stay words.
        parts = (text[:1], text[1:]) if read_tag(text) else (text,)
        yield from (Span(part, EffectRange(complement(begin), complement(end)), weight) for part in parts)


def stretches_of(
    prompt: DFPrompt, steps: int | None, remarks: Remarks, timing: Mapping[str, Any] = _STEPS
) -> Iterator[tuple[str | Span, tuple[Stretch, ...]]]:
    """Yield every piece with its stretches; a plain piece has one, a span that never acts none.

    `timing` goes to `make_plan`: what the ranges count where they do not count steps.
    """
    if steps is not None:
        _check_ramps(prompt, steps)
    tracks = iter(make_plan(prompt, steps, **timing).tracks) if steps is not None else None
    for piece in prompt.spans:
        if isinstance(piece, str):
            last = None if steps is None else steps - 1
            yield piece, (Stretch(0, last, Decimal(0), Decimal(1), Decimal(1)),)
        elif tracks is None:
            yield piece, _written(piece, remarks)
        else:
            yield piece, _planned(piece, next(tracks).weights, remarks)


def _check_ramps(prompt: DFPrompt, steps: int) -> None:
    """Raise ConversionError before ramps are made into more stretches than anybody's prompt has."""
    if steps * sum(span.weight.is_ramp for span in prompt.controls) > MOST_OF_RAMPS:
        raise ConversionError(
            f"the ramps of this prompt take more than {MOST_OF_RAMPS:,} stretches, one per step each; write "
            "fewer ramps, or name fewer steps"
        )


def _written(span: Span, remarks: Remarks) -> tuple[Stretch, ...]:
    weight = span.weight.first
    if span.weight.is_ramp:
        weight = round_places((span.weight.first + span.weight.last) / 2)
        remarks.lose(
            f"the ramp {span.weight} of {quote(span.text.strip())} becomes its middle; "
            "name the number of steps to keep it"
        )
    if not weight:
        remarks.lose(f"{quote(span.text.strip())} has weight 0 and is left out")
        return ()
    begin, end = complement(span.effect_range.start), complement(span.effect_range.end)
    return (Stretch(None, None, begin, end, weight),)


def _planned(span: Span, weights: tuple[Fraction, ...], remarks: Remarks) -> tuple[Stretch, ...]:
    words, steps = quote(span.text.strip()), len(weights)
    found = []
    at = 0
    for weight, run in groupby(weights):
        length = sum(1 for _ in run)
        if weight:
            found.append((at, at + length - 1, weight))
        at += length
    if not found:
        remarks.lose(f"{words} acts at none of the {steps} steps and is left out")
    whole = len(found) == 1 and span.weight.first == span.weight.last
    return tuple(
        Stretch(
            first,
            last,
            complement(span.effect_range.start) if whole else share(first, steps),
            complement(span.effect_range.end) if whole else share(last + 1, steps),
            _rounded(weight),
        )
        for first, last, weight in found
    )


def _rounded(weight: Fraction) -> Decimal:
    exact = Decimal(weight.numerator) / Decimal(weight.denominator)
    return round_places(exact)
