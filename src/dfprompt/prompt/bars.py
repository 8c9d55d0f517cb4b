"""A plan as bars, one per span: what terminals and pictures draw."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from dfprompt.prompt.ast import Span
from dfprompt.prompt.formatter import describe_track
from dfprompt.prompt.layout import lay_out
from dfprompt.prompt.plan import Plan


class Bar(NamedTuple):
    """One row: its words, its weight and its range as text, and its weight at every step 0..N-1.

    A level is 0 where the words are absent and None at a step that image-to-image leaves out.
    """

    words: str
    weight: str
    when: str
    levels: tuple[Fraction | None, ...]
    is_plain: bool = False


def make_bars(plan: Plan) -> list[Bar]:
    """Return the plain words as the first bar, then one bar per span in the order of the prompt.

    >>> from dfprompt.prompt import make_plan, parse_prompt
    >>> bar = make_bars(make_plan(parse_prompt("a cat, [snow:late:1.5]"), 4))[1]
    >>> bar.words, bar.weight, bar.when
    ('snow', 'x1.5', 'late half: steps 3-4 of 4')
    """
    spans = plan.prompt.spans
    plain = lay_out(plan.prompt.words, [isinstance(piece, str) for piece in spans]).text.strip()
    bars = []
    if plain:
        ones = tuple(Fraction(1) for _ in plan.steps)
        bars.append(Bar(plain, "", "plain words", _levels(plan, ones), is_plain=True))
    for track in plan.tracks:
        bars.append(
            Bar(
                track.span.text.strip(),
                _times(track.span),
                describe_track(plan, track),
                _levels(plan, track.weights),
            )
        )
    return bars


def _times(span: Span) -> str:
    return "" if span.weight.first == span.weight.last == 1 else f"x{span.weight}"


def _levels(plan: Plan, weights: tuple[Fraction, ...]) -> tuple[Fraction | None, ...]:
    """Spread the weights of the evaluations over the steps; a step shows its first evaluation."""
    levels: list[Fraction | None] = [None] * plan.num_inference_steps
    for planned, weight in zip(plan.steps, weights, strict=True):
        if levels[planned.step] is None:
            levels[planned.step] = weight
    return tuple(levels)
