"""Slips in a single number: what is wrong with it, and which number was probably meant."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import NamedTuple

from dfprompt.excerpt import quote
from dfprompt.prompt.exact import MAX_PLACES, decimal_places, round_places
from dfprompt.prompt.fields import read_number

_LONGEST = 40  # a longer field is not a slip of the pen


class Slip(NamedTuple):
    """What is wrong with a number, and the number that may have been meant."""

    problem: str
    meant: Decimal | None = None


def find_slip(text: str, low: int, high: int) -> Slip | None:
    """Return what keeps `text` from being a number in low..high, or None when nothing does.

    >>> find_slip("50%", 0, 1)
    Slip(problem='"50%" is not a plain decimal number', meant=Decimal('0.5'))
    """
    if not text:
        return Slip("a number is missing")
    number = read_number(text)
    if number is None:
        return _explain_unreadable(text, high)
    if number > high:
        return Slip(f"{quote(text)} is more than {high}", _fit(number, high))
    if number < low:
        return Slip(f"{quote(text)} is " + (f"less than {low}" if low else "negative"))
    if decimal_places(number) > MAX_PLACES:
        return Slip(f"{quote(text)} has more than {MAX_PLACES} decimal places", _fit(number, high))
    return None


def _explain_unreadable(text: str, high: int) -> Slip:
    guess = _guess(text)
    if guess is None:
        return Slip(f"{quote(text)} is not a number")
    if not guess.is_finite():
        return Slip(f"{quote(text)} is not a finite number")
    return Slip(f"{quote(text)} is not a plain decimal number", _fit(guess, high))


def _guess(text: str) -> Decimal | None:
    """Read a number written in other habits: 0,5 and 50% and +1 and 1e-1 and x1.5."""
    if len(text) > _LONGEST or not text.isascii() or "_" in text:
        return None
    bare = text.rstrip("%").strip().strip("xX+").replace(",", ".", 1)
    try:
        guess = Decimal(bare)
    except InvalidOperation:
        return None
    if not guess.is_finite() or not text.endswith("%"):
        return guess
    return guess.scaleb(-2) if abs(guess) < 1000 else None


def _fit(number: Decimal, high: int) -> Decimal | None:
    """Return the number, or its hundredth if it can only be a percentage, as the language writes it."""
    if high < number < 2 * high or abs(number) > 100 * high:
        return None
    return round_places(number if abs(number) <= high else number.scaleb(-2))
