"""Reading the fields of a bracket: a value, or None where bracket_errors.py has to explain what is wrong."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from dfprompt.errors import PromptValueError
from dfprompt.prompt.effect import FULL, RANGE_WORDS, EffectRange, Weight

ARROWS = ("->", "→", "↦")


class Bracket(NamedTuple):
    """Where one bracket stands in a text: its `[`, the colons between its fields, its `]`."""

    text: str
    start: int
    colons: tuple[int, ...]
    close: int

    @property
    def raw(self) -> str:
        """The whole bracket as written."""
        return self.text[self.start : self.close + 1]

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields as written, escapes and spaces included."""
        edges = (self.start, *self.colons, self.close)
        return tuple(self.text[edges[i] + 1 : edges[i + 1]] for i in range(len(edges) - 1))


def read_number(text: str) -> Decimal | None:
    """Return a plain decimal number, ASCII digits with at most one point; None for anything else.

    A minus may stand before it: weights go below 0.

    >>> read_number(" 0.5 "), read_number("-1"), read_number("1e3"), read_number("٣")
    (Decimal('0.5'), Decimal('-1'), None, None)
    """
    text = text.strip()
    digits = text.removeprefix("-").replace(".", "", 1)
    return Decimal(text) if digits.isdigit() and digits.isascii() else None


def read_range(text: str) -> EffectRange | None:
    """Return the range a field means; an empty field is the full range.

    >>> print(read_range("0.7 -> 0.3"))
    0.7->0.3
    """
    text = text.strip()
    if not text:
        return FULL
    known = RANGE_WORDS.get(text)
    if known is not None:
        return known
    ends = read_pair(text)
    if ends is None:
        return None
    try:
        return EffectRange(*ends)
    except PromptValueError:
        return None


def read_weight(text: str) -> Weight | None:
    """Return the weight a field means: one number, or two with an arrow for a ramp.

    >>> read_weight("0.5->1.5")
    Weight(0.5, 1.5)
    """
    number = read_number(text)
    ends = (number, number) if number is not None else read_pair(text)
    if ends is None:
        return None
    try:
        return Weight(*ends)
    except PromptValueError:
        return None


def read_pair(text: str) -> tuple[Decimal, Decimal] | None:
    """Return the two numbers around an arrow."""
    sides = split_arrow(text)
    if sides is None:
        return None
    first, last = read_number(sides[0]), read_number(sides[1])
    return None if first is None or last is None else (first, last)


def split_arrow(text: str, arrows: tuple[str, ...] = ARROWS) -> tuple[str, str] | None:
    """Return what stands on both sides of the first arrow found; None without an arrow."""
    for arrow in arrows:
        left, found, right = text.partition(arrow)
        if found:
            return left.strip(), right.strip()
    return None


def fields_mean_span(fields: tuple[str, ...]) -> bool:
    """Say whether the fields after the words are a range, or a range and a weight."""
    if len(fields) == 1:
        return bool(fields[0].strip()) and read_range(fields[0]) is not None
    return len(fields) == 2 and read_range(fields[0]) is not None and read_weight(fields[1]) is not None
