"""Student's t for whole degrees of freedom, in closed form: what small samples need and numpy lacks."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

from dfprompt.errors import ConfigError

_NEARLY_NORMAL = 2000  # degrees of freedom from which t and normal quantiles agree to three digits
_HALVINGS = 80


def student_central(t: float, freedom: int) -> float:
    """Return P(|T| <= t) for Student's T with `freedom` >= 1 degrees of freedom.

    The finite series of Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    Raises ConfigError for other `freedom`, or a `t` below 0.

    >>> round(student_central(12.706, 1), 4)
    0.95
    """
    if freedom < 1:
        raise ConfigError(f"Student's t needs at least one degree of freedom, not {freedom}")
    if not t >= 0:
        raise ConfigError(f"Student's t must be 0 or more, not {t}")
    angle = math.atan2(t, math.sqrt(freedom))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    odd = freedom % 2
    # Terms of cos^1, cos^3 ... for odd, cos^0, cos^2 ... for even degrees; each follows from the last.
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= square * (power + 1) / (power + 2)
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


@cache  # simulations ask for the same few thousands of times
def student_quantile(central: float, freedom: int) -> float:
    """Return the t with P(|T| <= t) = central, 0 < central < 1; for 0.95 the 97.5 % point.

    Raises ConfigError for another probability.

    >>> round(student_quantile(0.95, 9), 3)
    2.262
    """
    if not 0 < central < 1:
        raise ConfigError(f"a probability must lie between 0 and 1, not {central}")
    normal = NormalDist().inv_cdf((1 + central) / 2)
    if freedom >= _NEARLY_NORMAL:
        return normal
    low, high = 0.0, max(1.0, normal)
    while student_central(high, freedom) < central:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_central(middle, freedom) < central else (low, middle)
    return (low + high) / 2
