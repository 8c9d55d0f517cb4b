"""Bradley and Terry's model with a prior: a closed form, a second optimiser, and what choices cannot move."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dfprompt.errors import ConfigError
from dfprompt.statistics.choices import fit_choices


def loss(
    weights: np.ndarray, rows: np.ndarray, chosen: np.ndarray, prior: np.ndarray, spread: float
) -> float:
    """The negative log-posterior, written down term by term."""
    total = float((((weights - prior) / spread) ** 2).sum()) / 2
    for row, wanted in zip(rows, chosen, strict=True):
        logit = sum(float(a) * float(b) for a, b in zip(row, weights, strict=True))
        total += wanted * math.log1p(math.exp(-logit)) + (1 - wanted) * math.log1p(math.exp(logit))
    return total


def test_one_term_is_where_the_pull_of_choices_is_the_pull_of_the_prior() -> None:
    """Seven of ten: 10 (0.7 - sigmoid(w)) = w, solved by halving."""
    found = fit_choices([[1.0]] * 10, [1] * 7 + [0] * 3, [0.0]).mean[0]
    low, high = 0.0, 2.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 10 * (0.7 - 1 / (1 + math.exp(-middle))) > middle else (low, middle)
    assert found == pytest.approx(low, abs=1e-9)


def test_it_is_the_minimum_of_the_loss_and_its_spread_the_inverse_curvature() -> None:
    generator = np.random.default_rng(3)
    rows, prior = generator.normal(size=(30, 3)), np.array([1.0, 0.0, -0.5])
    chosen = generator.choice([0.0, 0.5, 1.0], 30)
    found = fit_choices(rows, chosen, prior, 0.7)
    best = loss(found.mean, rows, chosen, prior, 0.7)
    step = 1e-4
    curvature = np.zeros((3, 3))
    for i in range(3):
        for j in range(3):
            one, other = np.eye(3)[i] * step, np.eye(3)[j] * step
            corners = [
                loss(found.mean + a * one + b * other, rows, chosen, prior, 0.7)
                for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))
            ]
            curvature[i, j] = (corners[0] - corners[1] - corners[2] + corners[3]) / (4 * step**2)
            assert best <= min(loss(found.mean + one, rows, chosen, prior, 0.7), corners[3])
    assert np.allclose(np.linalg.inv(curvature), found.covariance, rtol=1e-3)


def test_without_choices_it_is_the_prior_and_ties_draw_to_nothing() -> None:
    nothing = fit_choices(np.zeros((0, 2)), [], [2.0, -1.0], 0.5)
    assert nothing.mean.tolist() == [2.0, -1.0]
    assert nothing.covariance == pytest.approx(np.eye(2) / 4)
    tied = fit_choices([[1.0, 0.0]] * 100, [0.5] * 100, [2.0, -1.0])
    assert abs(tied.mean[0]) < 0.1
    assert tied.mean[1] == -1.0


def test_choices_that_separate_stay_finite_and_huge_terms_converge() -> None:
    found = fit_choices([[1e4, 1.0]] * 50, [1] * 50, [0.0, 0.0])
    assert np.isfinite(found.mean).all()
    assert found.mean[0] > 0


def test_what_is_known_is_not_asked_again() -> None:
    """Of a term that a hundred choices settled little is left to learn, of another one all."""
    found = fit_choices([[1.0, 0.0]] * 100, [1, 0] * 50, [0.0, 0.0])
    known, unknown, both = found.surprise([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    assert known < unknown / 10
    assert both == 0


@pytest.mark.parametrize(
    ("rows", "chosen", "spread"),
    [
        ([[1.0]], [1, 0], 1.0),
        ([[math.nan]], [1], 1.0),
        ([[1.0]], [2], 1.0),
        ([[1.0]], [1], 0.0),
    ],
)
def test_what_is_no_choice_is_refused(rows: list[list[float]], chosen: list[float], spread: float) -> None:
    with pytest.raises(ConfigError):
        fit_choices(rows, chosen, [0.0], spread)
