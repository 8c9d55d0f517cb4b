"""Exact decimals of at most six places: the only numbers the language knows."""

from __future__ import annotations

from decimal import MAX_EMAX, MAX_PREC, MIN_EMIN, ROUND_HALF_UP, Context, Decimal, InvalidOperation
from fractions import Fraction

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote

MAX_PLACES = 6
Number = Decimal | int | float | str

# Never the thread's own context: a caller who lowers its precision must not change a prompt, and
# no digit may be rounded away before it is checked.
_EXACT = Context(prec=MAX_PREC, Emax=MAX_EMAX, Emin=MIN_EMIN)
_ROUNDING = Context(prec=64, rounding=ROUND_HALF_UP)


def to_decimal(value: Number, what: str, low: int, high: int) -> Decimal:
    """Return `value` as an exact decimal between `low` and `high`.

    A float counts as the shortest decimal that prints it, so `0.1` is one tenth. `what` names the
    number in messages. Raises PromptValueError for anything that is not a finite number in the
    interval with at most six decimal places.

    >>> to_decimal(0.50, "a weight", 0, 10)
    Decimal('0.5')
    """
    number = _read(value, what)
    if not number.is_finite():
        raise PromptValueError(f"{what} must be a finite number, not {quote(value)}; use {low} to {high}")
    if not low <= number <= high:
        raise PromptValueError(f"{what} must lie between {low} and {high}, not {quote(value)}")
    number = _EXACT.normalize(number) if number else Decimal(0)
    if decimal_places(number) > MAX_PLACES:
        raise PromptValueError(
            f"{what} may have at most {MAX_PLACES} decimal places, not {quote(value)}; round it first"
        )
    return number


def decimal_places(number: Decimal) -> int:
    """Return how many digits stand after the point of a finite decimal.

    >>> decimal_places(Decimal("0.125"))
    3
    """
    exponent = number.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def round_places(number: Decimal) -> Decimal:
    """Return the nearest number the language can write; halves go up. For numbers below 1e50.

    >>> round_places(Decimal("0.33333350"))
    Decimal('0.333334')
    """
    rounded = _ROUNDING.quantize(number, Decimal("0.000001"))
    return _ROUNDING.normalize(rounded) if rounded else Decimal(0)


def complement(share: Decimal) -> Decimal:
    """Return 1 - share: time left from share done, and back.

    >>> complement(Decimal("0.15"))
    Decimal('0.85')
    """
    return _ROUNDING.normalize(_ROUNDING.subtract(Decimal(1), share))


def format_decimal(number: Decimal) -> str:
    """Return the shortest plain notation of a decimal, never with an exponent.

    >>> format_decimal(Decimal("1E+1")), format_decimal(Decimal("0.50"))
    ('10', '0.5')
    """
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def to_json_number(number: Decimal) -> int | float:
    """Return a JSON number that prints exactly these digits.

    With at most six places and values up to 10 the shortest float repr is the decimal itself.

    >>> to_json_number(Decimal("0.85")), to_json_number(Decimal("1"))
    (0.85, 1)
    """
    return int(number) if number == number.to_integral_value() else float(number)


def _read(value: object, what: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        raise PromptValueError(f"{what} must be a number, not {quote(value)}")
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str) and not (value.isascii() and "_" not in value):
        raise PromptValueError(f"{what} must be a plain decimal number, not {quote(value)}")
    try:
        return Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation as error:
        raise PromptValueError(f"{what} must be a plain decimal number, not {quote(value)}") from error


def share(border: int, steps: int) -> Decimal:
    """The shortest share done d with (border - 1) / N < d <= border / N: what separates these two steps.

    >>> share(5, 10), share(7, 20)
    (Decimal('0.5'), Decimal('0.35'))
    """
    if border <= 0:
        return Decimal(0)
    low, high = Fraction(border - 1, steps), Fraction(border, steps)
    for places in range(7):
        digits = int(high * 10**places)
        if Fraction(digits, 10**places) > low:
            return Decimal(digits).scaleb(-places)
    return round_places(Decimal(border) / Decimal(steps))
