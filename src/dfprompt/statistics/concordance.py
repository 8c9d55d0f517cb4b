"""Whether people agree with each other: alpha, kappa, and the chance that two of them choose alike."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.intervals import Array


def krippendorff_alpha(counts: npt.ArrayLike) -> float:
    """Return Krippendorff's alpha for names; `counts` (U, C) says how many chose what of each unit.

    K. Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011: one less the disagreement within units
    over the one among all values that can be paired; units with a single choice are left out. 1 is
    agreement, 0 what chance would give. NaN where nothing can be paired or everybody always says the same.

    >>> krippendorff_alpha([[2, 0], [0, 2]]), krippendorff_alpha([[2, 0], [1, 1]])
    (1.0, 0.0)
    """
    paired = _paired(counts)
    totals = paired.sum(axis=1)
    by_name, values = paired.sum(axis=0), totals.sum()
    expected = values * values - (by_name**2).sum()
    if not expected > 0:
        return math.nan
    observed = ((totals**2 - (paired**2).sum(axis=1)) / np.maximum(totals - 1, 1)).sum()
    return float(1 - (values - 1) * observed / expected)


def fleiss_kappa(counts: npt.ArrayLike) -> float:
    """Return J. L. Fleiss's kappa (1971) of `counts` (U, C); units may have different numbers of choices.

    The agreement of a unit is the share of its pairs of choices that are alike, and units count equally;
    chance is from the shares of all choices. NaN as for `krippendorff_alpha`.

    >>> fleiss_kappa([[2, 0], [0, 2]])
    1.0
    """
    paired = _paired(counts)
    if not len(paired):
        return math.nan
    shares = paired.sum(axis=0) / paired.sum()
    chance = float((shares**2).sum())
    return math.nan if chance == 1 else float((agree_by_unit(paired).mean() - chance) / (1 - chance))


def agree_by_unit(counts: npt.ArrayLike) -> Array:
    """Return for each unit the chance that two of those who chose say the same, (U,); all have two or more.

    >>> agree_by_unit([[2, 0], [1, 1], [3, 1]]).tolist()
    [1.0, 0.0, 0.5]
    """
    chosen = np.asarray(counts, dtype=np.float64)
    totals = chosen.sum(axis=1)
    return np.asarray((chosen * (chosen - 1)).sum(axis=1) / (totals * (totals - 1)))


def _paired(counts: npt.ArrayLike) -> Array:
    chosen = np.asarray(counts, dtype=np.float64)
    if chosen.ndim != 2 or (chosen < 0).any():
        raise ConfigError("agreement needs counts, units by choices")
    return np.asarray(chosen[chosen.sum(axis=1) >= 2])
