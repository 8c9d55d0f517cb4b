"""Paired differences of one prompt, seed by seed: Student's interval and a one-sided test.

What a search uses: it asks of one prompt whether the finalist is above plain, on few seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

from dfprompt.statistics.comparison import ONE_SIDED, Comparison, count_wins
from dfprompt.statistics.intervals import LEVEL, Interval
from dfprompt.statistics.student_t import student_central, student_quantile


def compare_seeds(differences: Sequence[float]) -> Comparison | None:
    """Return what paired differences (one per seed) say of their mean; None without any.

    The interval is Student's, two-sided at 95 %, without ends for fewer than two pairs; `p` is one-sided: how
    likely a mean this high would be if there were no difference.

    >>> found = compare_seeds([1.0, 2.0, 3.0])
    >>> found.difference, round(found.interval.low, 3), round(found.p, 4)
    (2.0, -0.484, 0.0371)
    """
    count = len(differences)
    if not count:
        return None
    mean, interval, p = fmean(differences), Interval(math.nan, math.nan), 1.0
    if count > 1:
        error = stdev(differences) / math.sqrt(count)
        half = student_quantile(LEVEL, count - 1) * error
        interval, p = Interval(mean - half, mean + half), _one_sided(mean, error, count - 1)
    won = count_wins({"": differences})
    return Comparison(mean, interval, p=p, units="seeds", test=ONE_SIDED, **won)


def _one_sided(mean: float, error: float, freedom: int) -> float:
    """Return P(T >= mean / error); differences without spread are as certain as their sign."""
    if error == 0:
        return 0.0 if mean > 0 else 1.0
    central = student_central(abs(mean) / error, freedom)
    return (1 - central) / 2 if mean > 0 else (1 + central) / 2
