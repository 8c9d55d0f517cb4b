"""When and how strongly a span acts: effect ranges in time left, weights that may ramp."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote
from dfprompt.prompt.exact import MAX_PLACES, Number, format_decimal, to_decimal

MAX_WEIGHT = 10
MIN_WEIGHT = -10


@dataclass(frozen=True, slots=True, init=False, repr=False)
class EffectRange:
    """The stretch of denoising in which a span acts, in time left: 1 is pure noise, 0 the image.

    Half-open: active where `end < time left <= start`, so that `1->x` and `x->0` tile. An end of
    0 includes 0. Raises PromptValueError for numbers outside 0..1 and for empty or reversed ranges.

    >>> EffectRange(1, "0.85").contains(Fraction(9, 10))
    True
    """

    start: Decimal
    end: Decimal

    def __init__(self, start: Number, end: Number) -> None:
        first = to_decimal(start, "the start of a range", 0, 1)
        last = to_decimal(end, "the end of a range", 0, 1)
        if first <= last:
            raise PromptValueError(
                f"a range runs from more time left to less, and {first}->{last} does not; "
                + ("it is empty" if first == last else f"write {last}->{first}")
            )
        object.__setattr__(self, "start", first)
        object.__setattr__(self, "end", last)

    @classmethod
    def named(cls, word: str) -> EffectRange:
        """Return the range a word stands for: early 1->0.5, late 0.5->0, full 1->0.

        >>> print(EffectRange.named("late").arrow)
        0.5->0
        """
        if not isinstance(word, str) or word not in RANGE_WORDS:
            raise PromptValueError(f"{quote(word)} is not a range; the words are {', '.join(RANGE_WORDS)}")
        return RANGE_WORDS[word]

    @property
    def arrow(self) -> str:
        """The range in numbers, `0.5->0`."""
        return f"{format_decimal(self.start)}->{format_decimal(self.end)}"

    @property
    def words(self) -> str:
        """The range in words: `late half`, `first 15 %`, `from 30 % to 70 %` (of the steps done)."""
        known = _WORDS.get((self.start, self.end))
        if known is not None:
            return known
        begin, stop = _percent(1 - Fraction(self.start)), _percent(1 - Fraction(self.end))
        if self.start == 1:
            return f"first {stop} %"
        if self.end == 0:
            return f"last {_percent(Fraction(self.start))} %"
        return f"from {begin} % to {stop} %"

    def contains(self, time_left: Fraction) -> bool:
        """Say whether the span acts with this much time left (0..1)."""
        return next(self.among([tick(time_left)]))

    def among(self, ticks: Iterable[int]) -> Iterator[bool]:
        """Say of each time left, as `tick` counts it, whether the span acts."""
        start, end = (int(each.scaleb(MAX_PLACES)) for each in (self.start, self.end))
        return (now <= start and (end < now or not end) for now in ticks)

    def __str__(self) -> str:
        return next((word for word, known in RANGE_WORDS.items() if known == self), self.arrow)

    def __repr__(self) -> str:
        return f"EffectRange({format_decimal(self.start)}, {format_decimal(self.end)})"


_WORDS = {
    (Decimal(1), Decimal("0.5")): "early half",
    (Decimal("0.5"), Decimal(0)): "late half",
    (Decimal(1), Decimal(0)): "all the way",
}


def tick(time_left: Fraction) -> int:
    """Return a time left in the language's own resolution, rounded up: the ends of ranges lie on it.

    >>> tick(Fraction(1, 2)), tick(Fraction(1, 3))
    (500000, 333334)
    """
    return -(-time_left.numerator * 10**MAX_PLACES // time_left.denominator)


def _percent(share: Fraction) -> str:
    return f"{float(share * 100):.4f}".rstrip("0").rstrip(".")


EARLY = EffectRange(1, "0.5")
LATE = EffectRange("0.5", 0)
FULL = EffectRange(1, 0)
RANGE_WORDS: dict[str, EffectRange] = {"early": EARLY, "late": LATE, "full": FULL}


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Weight:
    """How strongly a span acts, -10..10; `first` to `last` linearly over its active steps.

    One number is a constant weight. Weight 0 removes the span; below 0 it pushes the words away,
    under rules that can. Raises PromptValueError for anything that is not a finite number in -10..10.

    >>> Weight("0.5", "1.5").at(Fraction(1, 4))
    Fraction(3, 4)
    """

    first: Decimal
    last: Decimal

    def __init__(self, first: Number, last: Number | None = None) -> None:
        object.__setattr__(self, "first", to_decimal(first, "a weight", MIN_WEIGHT, MAX_WEIGHT))
        end = self.first if last is None else to_decimal(last, "a weight", MIN_WEIGHT, MAX_WEIGHT)
        object.__setattr__(self, "last", end)

    @property
    def is_ramp(self) -> bool:
        """Whether the weight changes over the span's steps."""
        return self.first != self.last

    @property
    def is_signed(self) -> bool:
        """Whether it is below 0 at some step."""
        return self.first < 0 or self.last < 0

    def at(self, position: Fraction) -> Fraction:
        """Return the weight at a position: 0 at the span's first active step, 1 at its last."""
        first = Fraction(self.first)
        return first + (Fraction(self.last) - first) * position

    def __str__(self) -> str:
        first = format_decimal(self.first)
        return f"{first}->{format_decimal(self.last)}" if self.is_ramp else first

    def __repr__(self) -> str:
        return f"Weight({str(self).replace('->', ', ')})"


UNIT = Weight(1)
