"""Confidence intervals of means by bootstrap: one rule for every table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.student_t import student_quantile

Array: TypeAlias = npt.NDArray[np.float64]

LEVEL = 0.95
_DRAWS = 4000
_FEWEST_RESAMPLED = 6
_BLOCK = 2**24  # numbers held at once


class Interval(NamedTuple):
    """A confidence interval; both ends NaN where there is too little data for one."""

    low: float
    high: float

    def to_json(self) -> list[float] | None:
        """Return both ends; None where there are none.

        >>> Interval(0.5, 1.0).to_json(), Interval(float("nan"), float("nan")).to_json()
        ([0.5, 1.0], None)
        """
        return None if math.isnan(self.low) else [self.low, self.high]


@dataclass(frozen=True)
class Mean:
    """A mean of units with its 95 % interval, in their unit; `units` is how many they are."""

    mean: float
    low: float
    high: float
    units: int

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


def mean_with_interval(units: npt.ArrayLike) -> Mean:
    """Return the mean of `units` (U,) with `bootstrap_interval` of it.

    >>> print(mean_with_interval([1.0, 2.0, 3.0]))
    +2.0000 [-0.4841, +4.4841]
    """
    values = np.asarray(units, dtype=np.float64)
    return Mean(float(values.mean()), *bootstrap_interval(values), len(values))


def bootstrap_interval(
    units: npt.ArrayLike, *, level: float = LEVEL, draws: int = _DRAWS, seed: int = 0
) -> Interval:
    """Return the percentile bootstrap interval of the mean of `units` (U,).

    Percentiles are moved outwards to where a t interval of U units would have them (T. Hesterberg, What
    Teachers Should Know About the Bootstrap, 2015, "expanded percentiles"), because plain ones are too
    narrow for few units. A resampled mean never leaves the range of the data, which holds the truth in at
    most 1 - 2^(1 - U) of cases; below six units that is less than 95 %, and the t interval itself is
    returned. Fewer than two units give NaN.

    >>> interval = bootstrap_interval([1.0, 2.0, 3.0, 4.0])
    >>> interval.low < 2.5 < interval.high
    True
    """
    ends = bootstrap_intervals(np.atleast_2d(np.asarray(units, dtype=np.float64)), level, draws, seed)
    return Interval(float(ends[0, 0]), float(ends[0, 1]))


def bootstrap_intervals(units: Array, level: float = LEVEL, draws: int = _DRAWS, seed: int = 0) -> Array:
    """Return intervals (D, 2) for several data sets (D, U) at once; every data set sees the same draws."""
    if not 0 < level < 1:
        raise ConfigError(f"a confidence level must lie between 0 and 1, not {level}")
    check_finite(units)
    sets, count = units.shape
    if count < 2:
        return np.full((sets, 2), np.nan)
    if count < _FEWEST_RESAMPLED:
        half = student_quantile(level, count - 1) * units.std(axis=1, ddof=1) / count**0.5
        return np.stack([units.mean(axis=1) - half, units.mean(axis=1) + half], axis=1)
    tail = 100 * expanded_tail(level, count)
    shares = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws) / count
    block = max(1, _BLOCK // draws)
    ends = [
        np.percentile(units[start : start + block] @ shares.T, [tail, 100 - tail], axis=1).T
        for start in range(0, sets, block)
    ]
    return np.concatenate(ends)


def expanded_tail(level: float, units: int) -> float:
    """Return the share cut off at either end so that `units` resampled units give a t interval's width.

    >>> round(expanded_tail(0.95, 1000), 3)
    0.025
    """
    stretched = student_quantile(level, units - 1) * (units / (units - 1)) ** 0.5
    return NormalDist().cdf(-stretched)


def check_finite(values: Array) -> None:
    """Raise ConfigError for a value that is no number."""
    if not np.isfinite(values).all():
        raise ConfigError("differences must be finite numbers; leave out what failed")
