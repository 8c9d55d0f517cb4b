"""The share of choices a judge agrees with, with an interval that knows whose and which prompts' they are."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.intervals import LEVEL, Array, Interval
from dfprompt.statistics.student_t import student_quantile


@dataclass(frozen=True)
class Share:
    """A share in [0, 1] with its 95 % interval, of `count` choices over `prompts` prompts and `raters`.

    `raters` is 0 where nobody says who chose.
    """

    share: float
    interval: Interval
    count: int
    prompts: int
    raters: int = 0


def share_with_interval(
    agreed: npt.ArrayLike,
    prompts: Sequence[Hashable],
    raters: Sequence[Hashable] | None = None,
    *,
    level: float = LEVEL,
) -> Share:
    """Return the mean of `agreed` (N,), each 0, 1/2 or 1, with an interval over prompts (and raters).

    The variance is that of clusters (of both: A. C. Cameron, J. B. Gelbach and D. L. Miller, Robust Inference
    with Multiway Clustering, 2011: prompts + raters - their cells); the interval is E. B. Wilson's (1927)
    with the number of independent choices that has this variance, and Student's quantile for the fewest
    clusters.
    Raises ConfigError for no choices or lists of other lengths.

    >>> found = share_with_interval([1, 1, 0, 1], ["a", "b", "c", "d"])
    >>> found.share, found.interval.low < 0.5, found.interval.high < 1
    (0.75, True, True)
    """
    values = np.asarray(agreed, dtype=np.float64)
    count = len(values)
    if not count or len(prompts) != count or (raters is not None and len(raters) != count):
        raise ConfigError("an agreement needs choices, each with its prompt (and its rater)")
    share = float(values.mean())
    rest = values - share
    variance, fewest = _clustered(rest, prompts)
    if raters is not None:
        by_rater, few_raters = _clustered(rest, raters)
        cells, _ = _clustered(rest, list(zip(prompts, raters, strict=True)))
        variance = max(variance + by_rater - cells, variance, by_rater)
        fewest = min(fewest, few_raters)
    independent = share * (1 - share) / variance if variance > 0 else float(fewest)
    return Share(
        share,
        _wilson(share, min(independent, float(count)), fewest, level),
        count,
        len(set(prompts)),
        0 if raters is None else len(set(raters)),
    )


def _clustered(rest: Array, clusters: Sequence[Hashable]) -> tuple[float, int]:
    """Return the variance of a mean of values (N,) that are independent between clusters, and how many."""
    numbers = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    places = np.array([numbers[each] for each in clusters])
    sums = np.bincount(places, weights=rest, minlength=len(numbers))
    groups = len(numbers)
    grown = groups / (groups - 1) if groups > 1 else 1.0
    return float(grown * (sums**2).sum() / len(rest) ** 2), groups


def _wilson(share: float, count: float, clusters: int, level: float) -> Interval:
    if clusters < 2:
        return Interval(math.nan, math.nan)
    t = student_quantile(level, clusters - 1)
    middle = (share + t * t / (2 * count)) / (1 + t * t / count)
    half = t / (1 + t * t / count) * math.sqrt(share * (1 - share) / count + t * t / (4 * count * count))
    return Interval(max(0.0, middle - half), min(1.0, middle + half))
