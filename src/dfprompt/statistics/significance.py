"""Tests of a mean difference: a randomisation test by flipping signs, and Holm's correction for several."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.intervals import check_finite

Array: TypeAlias = npt.NDArray[np.float64]

_FLIPS = 9999
_EXACT_UNITS = 12  # 2**12 sign patterns are all tried; above, a sample of them
_BLOCK = 2**24  # numbers held at once


def sign_flip_test(units: npt.ArrayLike, *, seed: int = 0, flips: int = _FLIPS) -> Array:
    """Return the two-sided p (...) of a mean of 0 for `units` (..., U), by flipping the units' signs.

    R. A. Fisher's randomisation test, The Design of Experiments, 1935, section 21: without an effect
    each unit's difference could as well have had the other sign. All sign patterns of up to 12 units
    are tried; of more, `flips` random ones beside the one observed (so p is at least 1 / (flips + 1)).
    Raises ConfigError for no units, or units that are no finite numbers.

    >>> float(sign_flip_test([1.0, 2.0, 3.0]))
    0.25
    """
    values = np.asarray(units, dtype=np.float64)
    check_finite(values)
    count = values.shape[-1]
    if count == 0:
        raise ConfigError("a test needs at least one difference")
    exact = count <= _EXACT_UNITS
    signs = _all_signs(count) if exact else _random_signs(count, flips, seed)
    flat = values.reshape(-1, count)
    observed = np.abs(flat.sum(axis=1))
    # Sums of the same numbers in another order differ by rounding; they count as equal.
    limit = observed - 1e-9 * np.abs(flat).sum(axis=1)
    block = max(1, _BLOCK // len(signs))
    reached = np.concatenate(
        [
            (np.abs(flat[start : start + block] @ signs.T) >= limit[start : start + block, None]).sum(axis=1)
            for start in range(0, len(flat), block)
        ]
    )
    p = reached / len(signs) if exact else (reached + 1) / (flips + 1)
    return np.asarray(p.reshape(values.shape[:-1]), dtype=np.float64)


def _all_signs(count: int) -> Array:
    bits = np.arange(2**count)[:, None] >> np.arange(count) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


def _random_signs(count: int, flips: int, seed: int) -> Array:
    drawn = np.random.default_rng(seed).integers(0, 2, (flips, count))
    return np.asarray(2.0 * drawn - 1.0, dtype=np.float64)


def sign_test(above: int, below: int) -> float:
    """Return the two-sided p of as many units above and below as these, by the binomial distribution.

    J. Arbuthnot's test, 1710; units that are even are left out before.

    >>> sign_test(5, 0), sign_test(3, 3)
    (0.0625, 1.0)
    """
    count, fewer = above + below, min(above, below)
    tail = sum(math.comb(count, each) for each in range(fewer + 1))
    return min(1.0, 2 * tail / 2**count)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for their number, in the order given.

    S. Holm, A simple sequentially rejective multiple test procedure, 1979: the smallest is multiplied by
    the number of tests, the next by one less, and none falls below one before it.

    >>> adjust_holm([0.04, 0.01, 0.03])
    [0.06, 0.03, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(order):
        largest = max(largest, min(1.0, p_values[index] * (len(order) - rank)))
        adjusted[index] = largest
    return adjusted
