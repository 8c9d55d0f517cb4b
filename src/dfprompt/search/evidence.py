"""What paired differences say: mean, Student interval, one-sided p, and the shrunken mean for choosing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from dfprompt.student import student_central, student_quantile

LEVEL = 0.95


@dataclass(frozen=True)
class Evidence:
    """Paired differences to plain, seed by seed, in the score's unit.

    `low` and `high` are the two-sided 95 % Student interval, None for fewer than two pairs; `p` is
    one-sided: how likely a mean this high would be if there were no difference.
    """

    pairs: int
    difference: float
    low: float | None
    high: float | None
    p: float

    def to_json(self) -> dict[str, Any]:
        """Return pairs, difference, interval (two numbers or null) and p."""
        interval = None if self.low is None else [self.low, self.high]
        return {"pairs": self.pairs, "difference": self.difference, "interval": interval, "p": self.p}


def weigh(differences: Sequence[float]) -> Evidence | None:
    """Return what paired differences say of their mean; None without any.

    >>> found = weigh([1.0, 2.0, 3.0])
    >>> found.difference, round(found.low, 3), round(found.p, 4)
    (2.0, -0.484, 0.0371)
    """
    count = len(differences)
    if not count:
        return None
    mean = fmean(differences)
    if count == 1:
        return Evidence(1, mean, None, None, 1.0)
    error = stdev(differences) / math.sqrt(count)
    half = student_quantile(LEVEL, count - 1) * error
    return Evidence(count, mean, mean - half, mean + half, _one_sided(mean, error, count - 1))


def _one_sided(mean: float, error: float, freedom: int) -> float:
    """Return P(T >= mean / error); differences without spread are as certain as their sign."""
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    central = student_central(abs(mean) / error, freedom)
    return (1 - central) / 2 if mean > 0 else (1 + central) / 2


def shrink(differences: Sequence[float]) -> float:
    """Return the mean difference drawn towards 0, as if one more seed had shown no difference.

    Of many candidates seen on one seed each the highest is mostly luck; shrinking lets one seen on several
    seeds stand above it.

    >>> shrink([1.0]), shrink([0.8, 0.8, 0.8])
    (0.5, 0.6000000000000001)
    """
    return sum(differences) / (len(differences) + 1)
