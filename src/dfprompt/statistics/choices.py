"""Choices between two things by weighted terms: Bradley and Terry's model, with a prior.

A person prefers a to b with probability sigmoid((x_a - x_b) . w) (R. A. Bradley and M. E. Terry, Rank
Analysis of Incomplete Block Designs, 1952; the weights of terms in the place of one worth per thing). The
prior of w is normal around given weights, so few choices move little.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dfprompt.errors import ConfigError
from dfprompt.statistics.intervals import Array

_STEPS = 100
_CLOSE = 1e-10


@dataclass(frozen=True, eq=False)
class Weights:
    """What choices say of weights: `mean` (D,), and `covariance` (D, D) of the normal around it (Laplace)."""

    mean: Array
    covariance: Array

    def surprise(self, differences: npt.ArrayLike) -> Array:
        """Return for each pair (N, D) how much asking about it would tell: p (1 - p) x' C x.

        The pair with the most is asked next (D. J. C. MacKay, Information-Based Objective Functions for
        Active Data Selection, 1992, for a linear logit).
        """
        rows = np.asarray(differences, dtype=np.float64)
        chance = _sigmoid(rows @ self.mean)
        spread: Array = np.einsum("nd,de,ne->n", rows, self.covariance, rows)
        return chance * (1 - chance) * spread


def fit_choices(
    differences: npt.ArrayLike, chosen: npt.ArrayLike, prior: npt.ArrayLike, spread: float = 1.0
) -> Weights:
    """Return the likeliest weights of terms, given choices.

    `differences` (N, D) are the terms of the first thing minus those of the second, `chosen` (N,) is 1 where
    the first was preferred, 0 where the second was, 1/2 where nobody could say; `prior` (D,) are the weights
    without any choice, `spread` how far weights lie from it (standard deviation). Newton's method on a convex
    loss; raises ConfigError for shapes that do not fit and for what is no number.

    >>> found = fit_choices([[1.0, 0.0]] * 20, [1] * 20, [0.0, 0.5])
    >>> bool(found.mean[0] > 1), round(float(found.mean[1]), 6)
    (True, 0.5)
    """
    start = np.asarray(prior, dtype=np.float64)
    rows = np.asarray(differences, dtype=np.float64).reshape(-1, len(start))
    wanted = np.asarray(chosen, dtype=np.float64)
    if wanted.shape != (len(rows),) or not (np.isfinite(rows).all() and np.isfinite(start).all()):
        raise ConfigError(f"{len(rows)} pairs need as many choices, and finite terms")
    if not ((wanted >= 0) & (wanted <= 1)).all() or not spread > 0:
        raise ConfigError("a choice is 0, 1/2 or 1, and a spread is above 0")
    precision = np.eye(len(start)) / spread**2
    mean = start.copy()
    for _ in range(_STEPS):
        chance = _sigmoid(rows @ mean)
        gradient = rows.T @ (chance - wanted) + precision @ (mean - start)
        curvature = rows.T @ (rows * (chance * (1 - chance))[:, None]) + precision
        step = np.linalg.solve(curvature, gradient)
        step /= max(1.0, float(np.abs(rows @ step).max(initial=0.0)) / 2)  # no logit jumps by more than 2
        mean -= step
        if np.abs(step).max(initial=0.0) < _CLOSE:
            break
    chance = _sigmoid(rows @ mean)
    curvature = rows.T @ (rows * (chance * (1 - chance))[:, None]) + precision
    covariance: Array = np.linalg.inv(curvature).astype(np.float64)
    return Weights(mean, covariance)


def _sigmoid(logits: Array) -> Array:
    found: Array = 0.5 * (1 + np.tanh(logits / 2))
    return found
