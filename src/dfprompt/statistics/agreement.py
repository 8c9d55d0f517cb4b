"""The share of choices a judge agrees with, with an interval that knows whose and which prompts' they are."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.intervals import LEVEL, Array, Interval
from dfprompt.statistics.student_t import student_quantile

Codes: TypeAlias = npt.NDArray[np.int64]
"""Clusters as numbers from 0."""


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
    by_rater = None if raters is None else _numbered(raters)
    ends = share_intervals(values[None], _numbered(prompts), by_rater, level=level)[0]
    rated = 0 if raters is None else len(set(raters))
    return Share(float(values.mean()), Interval(*map(float, ends)), count, len(set(prompts)), rated)


def share_intervals(values: Array, prompts: Codes, raters: Codes | None, *, level: float = LEVEL) -> Array:
    """Return `share_with_interval`'s intervals (S, 2) of many data sets (S, N) of one design.

    `prompts` and `raters` (N,) number the clusters of the choices. Both ends are NaN for fewer than two.
    """
    count = values.shape[1]
    shares = values.mean(axis=1)
    rest = values - shares[:, None]
    variance, fewest = _clustered(rest, prompts)
    if raters is not None:
        by_rater, few_raters = _clustered(rest, raters)
        cells, _ = _clustered(rest, prompts.astype(np.int64) * (int(raters.max()) + 1) + raters)
        variance = np.maximum(variance + by_rater - cells, np.maximum(variance, by_rater))
        fewest = min(fewest, few_raters)
    if fewest < 2:
        return np.full((len(values), 2), math.nan)
    spread = shares * (1 - shares)
    independent = np.divide(spread, variance, out=np.full(len(values), float(fewest)), where=variance > 0)
    return _wilson(shares, np.minimum(independent, count), student_quantile(level, fewest - 1))


def _numbered(clusters: Sequence[Hashable]) -> Codes:
    numbers = {cluster: place for place, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[each] for each in clusters])


def _clustered(rest: Array, clusters: Codes) -> tuple[Array, int]:
    """Return the variances (S,) of means of values (S, N) independent between clusters (N,), and how many."""
    order = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    sums = np.add.reduceat(rest[:, order], starts, axis=1)
    groups = len(starts)
    grown = groups / (groups - 1) if groups > 1 else 1.0
    return grown * (sums**2).sum(axis=1) / rest.shape[1] ** 2, groups


def _wilson(shares: Array, counts: Array, t: float) -> Array:
    grown = 1 + t * t / counts
    middle = (shares + t * t / (2 * counts)) / grown
    half = t / grown * np.sqrt(shares * (1 - shares) / counts + t * t / (4 * counts * counts))
    return np.stack([np.maximum(0.0, middle - half), np.minimum(1.0, middle + half)], axis=1)
