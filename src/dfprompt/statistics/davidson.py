"""An order of several things from comparisons in pairs, with draws: the model of Davidson."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfprompt.statistics.intervals import LEVEL, Array, Interval

_RIDGE = 1e-3  # keeps the strength finite of what never lost; as a hundredth of a comparison
_STEPS = 50
_DRAWS = 1000
_BLOCK = 2**22  # weights held at once


@dataclass(frozen=True)
class Strengths:
    """Log strengths (K,), their mean 0, the log of the draws' parameter, and intervals of the strengths.

    The chance that i is preferred to j, of those who choose, is the logistic function of the difference.
    """

    strengths: tuple[float, ...]
    draws: float
    intervals: tuple[Interval, ...]


def fit_davidson(
    outcomes: npt.ArrayLike,
    people: npt.NDArray[np.int64],
    prompts: npt.NDArray[np.int64],
    methods: int,
    *,
    seed: int = 0,
    level: float = LEVEL,
) -> Strengths:
    """Return the strengths of `methods` things; `outcomes` (N, 3) are rows (i, j, value) with i < j.

    The value is 1 where i was chosen, 0 where j, 1/2 for a draw. R. R. Davidson, On Extending the
    Bradley-Terry Model to Accommodate Ties in Paired Comparison Experiments, 1970: the chances of i, j and a
    draw are as p_i, p_j and v sqrt(p_i p_j). Intervals resample people and prompts both (A. B. Owen, The
    pigeonhole bootstrap, 2007); they are somewhat wide, as his are.

    >>> rows = [(0, 1, 1.0)] * 6 + [(0, 1, 0.0)] * 3
    >>> found = fit_davidson(rows, np.arange(9), np.arange(9), 2)
    >>> round(found.strengths[0] - found.strengths[1], 2)
    0.69
    """
    values = np.asarray(outcomes, dtype=np.float64)
    versus = list(itertools.combinations(range(methods), 2))
    place = {pair: number for number, pair in enumerate(versus)}
    kinds = np.array([3 * place[int(i), int(j)] + int(2 * (1 - value)) for i, j, value in values])
    counted = np.zeros((len(kinds), 3 * len(versus)))
    counted[np.arange(len(kinds)), kinds] = 1
    random = np.random.default_rng(seed)
    drawn = _resample(people, random), _resample(prompts, random)
    block = max(1, _BLOCK // len(kinds))
    tallies = [counted.sum(axis=0)[None]]
    for start in range(0, _DRAWS, block):
        one, other = (each[start : start + block] for each in drawn)
        tallies.append((one[:, people] * other[:, prompts]) @ counted)
    found = _fit(np.concatenate(tallies).reshape(_DRAWS + 1, len(versus), 3), versus, methods)
    tail = 100 * (1 - level) / 2
    ends = np.percentile(found[1:, :methods], [tail, 100 - tail], axis=0).T
    best = found[0]
    return Strengths(
        tuple(map(float, best[:methods])),
        float(best[methods]),
        tuple(Interval(*map(float, each)) for each in ends),
    )


def _resample(clusters: npt.NDArray[np.int64], random: np.random.Generator) -> Array:
    """Return how often each cluster is drawn when as many are drawn with replacement, (draws, clusters)."""
    count = int(clusters.max()) + 1
    return random.multinomial(count, np.full(count, 1 / count), size=_DRAWS).astype(np.float64)


def _fit(counts: Array, versus: list[tuple[int, int]], methods: int) -> Array:
    """Return the likeliest (B, methods + 1) of counts (B, V, 3) of i, draw, j, by Newton's method.

    It is a choice among three utilities that are linear in the parameters, so the likelihood is concave.
    """
    features = np.zeros((len(versus), 3, methods + 1))
    for row, (i, j) in enumerate(versus):
        features[row, 0, i] = features[row, 2, j] = features[row, 1, methods] = 1
        features[row, 1, [i, j]] = 0.5
    found = np.zeros((len(counts), methods + 1))
    totals = counts.sum(axis=2)
    for _ in range(_STEPS):
        utilities = np.einsum("vcp,bp->bvc", features, found)
        chances = np.exp(utilities - utilities.max(axis=2, keepdims=True))
        chances /= chances.sum(axis=2, keepdims=True)
        slope = np.einsum("bvc,vcp->bp", counts - totals[:, :, None] * chances, features) - _RIDGE * found
        expected = np.einsum("bvc,vcp->bvp", chances, features)
        square = np.einsum("bv,bvc,vcp,vcq->bpq", totals, chances, features, features, optimize=True)
        square -= np.einsum("bv,bvp,bvq->bpq", totals, expected, expected, optimize=True)
        step = np.linalg.solve(square + _RIDGE * np.eye(methods + 1), slope[:, :, None])[:, :, 0]
        found += np.clip(step, -2, 2)
        if np.abs(step).max() < 1e-8:
            break
    found[:, :methods] -= found[:, :methods].mean(axis=1, keepdims=True)
    return found
