"""Paired comparisons: differences, win rates, bootstrap intervals, a sign-flip test, Holm's correction.

The unit is the prompt. Pictures of one prompt with several seeds are not independent, so every seed's
difference is averaged within its prompt first, and prompts (each with all its seeds) are what is resampled
and what is flipped. Resampling the seeds inside a drawn prompt once more would count their noise twice:
the prompt means already vary with it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.intervals import Interval, bootstrap_interval, check_finite

Array: TypeAlias = npt.NDArray[np.float64]
Key: TypeAlias = tuple[str, int]
"""Prompt and seed."""

_FLIPS = 9999
_EXACT_UNITS = 12  # 2**12 sign patterns are all tried; above, a sample of them
_BLOCK = 2**24  # numbers held at once


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline in one score, over the pairs both have.

    `difference` is the mean over prompts of the mean over seeds, in the score's unit; `win_rate` the
    share of pairs won (ties count half), prompts weighted equally; `p` two-sided. `units` says what the
    interval and test resample: "prompts", or "seeds" where there is a single prompt and the result holds
    for that prompt alone.
    """

    difference: float
    interval: Interval
    win_rate: float
    win_interval: Interval
    p: float
    prompts: int
    pairs: int
    units: str


def pair_differences(scores: Mapping[Key, float], baseline: Mapping[Key, float]) -> dict[str, list[float]]:
    """Return `scores - baseline` by prompt, one number per seed that both have.

    >>> pair_differences({("a", 0): 3.0, ("a", 1): 5.0, ("b", 0): 1.0}, {("a", 0): 1.0, ("a", 1): 4.0})
    {'a': [2.0, 1.0]}
    """
    found: dict[str, list[float]] = {}
    for key in sorted(scores.keys() & baseline.keys()):
        found.setdefault(key[0], []).append(scores[key] - baseline[key])
    return found


def compare_scores(
    scores: Mapping[Key, float], baseline: Mapping[Key, float], *, seed: int = 0
) -> Comparison | None:
    """Compare a method with a baseline, picture by picture of the same prompt and seed.

    Returns None where they have no pair in common.

    >>> flat = {(prompt, 0): 0.0 for prompt in "abcdef"}
    >>> compare_scores({key: 1.0 + key[1] for key in flat}, flat).p
    0.03125
    """
    differences = pair_differences(scores, baseline)
    if not differences:
        return None
    means, units = resampled_units(differences)
    wins, _ = resampled_units({prompt: _wins(values) for prompt, values in differences.items()})
    return Comparison(
        difference=float(means.mean()),
        interval=bootstrap_interval(means, seed=seed),
        win_rate=float(wins.mean()),
        win_interval=_within_shares(bootstrap_interval(wins, seed=seed)),
        p=float(sign_flip_test(means, seed=seed)),
        prompts=len(differences),
        pairs=sum(len(values) for values in differences.values()),
        units=units,
    )


def _within_shares(interval: Interval) -> Interval:
    """A share lies in [0, 1]; the t interval of few units does not know that."""
    return Interval(float(np.clip(interval.low, 0, 1)), float(np.clip(interval.high, 0, 1)))


def _wins(differences: Sequence[float]) -> list[float]:
    return [0.5 if value == 0 else float(value > 0) for value in differences]


def resampled_units(values: Mapping[str, Sequence[float]]) -> tuple[Array, str]:
    """Return what is resampled: each prompt's mean over its seeds; of a single prompt, its seeds.

    >>> resampled_units({"a": [1.0, 3.0], "b": [5.0]})
    (array([2., 5.]), 'prompts')
    """
    if len(values) == 1:
        return np.array(next(iter(values.values())), dtype=np.float64), "seeds"
    return np.array([np.mean(each) for each in values.values()], dtype=np.float64), "prompts"


def sign_flip_test(units: npt.ArrayLike, *, seed: int = 0, flips: int = _FLIPS) -> Array:
    """Return the two-sided p (...) of a mean of 0 for `units` (..., U), by flipping the units' signs.

    R. A. Fisher's randomisation test, The Design of Experiments, 1935, section 21: without an effect
    each unit's difference could as well have had the other sign. All sign patterns of up to 12 units
    are tried; of more, `flips` random ones beside the one observed (so p is at least 1 / (flips + 1)).

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
