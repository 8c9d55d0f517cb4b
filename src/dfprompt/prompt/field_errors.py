"""What somebody may have meant by a field that is no range or no weight, and how to write it."""

from __future__ import annotations

import difflib
from decimal import Decimal
from typing import NamedTuple

from dfprompt.excerpt import quote
from dfprompt.prompt.effect import MAX_WEIGHT, MIN_WEIGHT, RANGE_WORDS, EffectRange
from dfprompt.prompt.exact import complement, format_decimal
from dfprompt.prompt.fields import read_number, split_arrow
from dfprompt.prompt.number_errors import find_slip

RANGE_EXPECTED = "START->END in time left, 1 (noise) to 0 (image), or early, late, full"
WEIGHT_EXPECTED = f"a number from {MIN_WEIGHT} to {MAX_WEIGHT}, or FIRST->LAST for a ramp"

# Longest first: "-->" contains "->" and ends in ">".
_WRONG_ARROWS = ("-->", "=>", "~>", "..", "–", "—", "−", "-", ">")
_LONGEST_WORD = 12


class Reading(NamedTuple):
    """A problem, corrected fields (each with what it means), and advice."""

    problem: str
    corrections: tuple[tuple[str, str], ...] = ()
    advice: str | None = None


def explain_range(field: str) -> Reading:
    """Explain a field that should be a range and is not.

    >>> [correction for correction, _ in explain_range("0-0.5").corrections]
    ['0.5->0', '1->0.5']
    """
    text = field.strip()
    if not text:
        return Reading("the range is missing", (("full", "all steps"),))
    sides = split_arrow(text)
    if sides is not None:
        return _explain_sides(text, *sides)
    number = read_number(text)
    if number is not None:
        return _explain_lone_number(text, number)
    wrong = split_arrow(text, _WRONG_ARROWS)
    if wrong is not None and None not in map(read_number, wrong):
        return _explain_wrong_arrow(text, *wrong)
    close = difflib.get_close_matches(text.casefold()[: _LONGEST_WORD + 1], RANGE_WORDS, n=1)
    return Reading(f"{quote(text)} is not a range", tuple((word, "") for word in close))


def explain_weight(field: str) -> Reading:
    """Explain a field that should be a weight and is not.

    >>> explain_weight("150%").corrections
    (('1.5', ''),)
    """
    text = field.strip()
    if not text:
        return Reading("the weight is missing", (("1", "unchanged"),))
    wrong = split_arrow(text, _WRONG_ARROWS)
    slipped = wrong is not None and None not in map(read_number, wrong)
    sides = split_arrow(text) or (wrong if wrong and slipped else (text,))
    problem, numbers = _mend(sides, MIN_WEIGHT, MAX_WEIGHT)
    corrections = (("->".join(map(format_decimal, numbers)), ""),) if numbers else ()
    return Reading(problem or f"{quote(text)} is not a ramp", corrections)


def _explain_sides(text: str, left: str, right: str) -> Reading:
    """Two sides and a right arrow: a bad number, or a range that is reversed or empty."""
    problem, numbers = _mend((left or "1", right or "0"), 0, 1)
    if not left or not right:
        problem = f"{quote(text)} lacks its {'end' if left else 'start'}"
    if not numbers:
        return Reading(problem or f"{quote(text)} is not a range")
    first, last = numbers
    if first > last:
        arrow = EffectRange(first, last)
        return Reading(problem or f"{quote(text)} is not a range", ((arrow.arrow, arrow.words),))
    if first == last:
        return Reading(problem or f"the range {quote(text)} is empty", (), "make START larger than END")
    problem = problem or f"the range {quote(text)} is reversed: time left only falls"
    return Reading(problem, _both_readings(first, last, "if the numbers are time left"))


def _explain_wrong_arrow(text: str, left: str, right: str) -> Reading:
    """Two numbers with something like an arrow between them; both readings of low-high are named."""
    _, numbers = _mend((left, right), 0, 1)
    problem = f"{quote(text)} has no arrow"
    if not numbers or numbers[0] == numbers[1]:
        return Reading(problem, (), "write START->END with START larger than END")
    first, last = numbers
    if first > last:
        arrow = EffectRange(first, last)
        return Reading(problem, ((arrow.arrow, arrow.words),))
    return Reading(problem, _both_readings(first, last, "as the published code has it, dialect pae"))


def _explain_lone_number(text: str, number: Decimal) -> Reading:
    """One number where a range should be: AUTOMATIC1111's start."""
    problem = f"{quote(text)} is one number, and a range needs two"
    _, numbers = _mend((text,), 0, 1)
    if not numbers or not 0 < numbers[0] < 1 or number > 1:
        return Reading(problem)
    start = EffectRange(complement(numbers[0]), 0)
    return Reading(problem, ((start.arrow, f"{start.words}, as AUTOMATIC1111 reads it"),))


def _both_readings(low: Decimal, high: Decimal, as_time_left: str) -> tuple[tuple[str, str], ...]:
    """Low-high as time left, and as the share of steps done that other tools count."""
    left, done = EffectRange(high, low), EffectRange(complement(low), complement(high))
    if left == done:
        return ((left.arrow, left.words),)
    return (
        (left.arrow, f"{left.words}: {as_time_left}"),
        (done.arrow, f"{done.words}: if the numbers are steps done"),
    )


def _mend(sides: tuple[str, ...], low: int, high: int) -> tuple[str | None, tuple[Decimal, ...]]:
    """Return the first problem among some numbers, and the numbers meant (none if one is unclear)."""
    problem: str | None = None
    meant: list[Decimal | None] = []
    for side in sides:
        slip = find_slip(side, low, high)
        problem = problem or (slip.problem if slip else None)
        meant.append(slip.meant if slip else read_number(side))
    numbers = tuple(number for number in meant if number is not None)
    return problem, numbers if len(numbers) == len(meant) else ()
