"""Shares of choices agreed with: by hand, by a second formula, and how often intervals hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dfprompt.errors import ConfigError
from dfprompt.statistics.agreement import share_with_interval
from dfprompt.statistics.student_t import student_quantile

SIMULATIONS = 1000


def test_without_clusters_it_is_wilsons_interval() -> None:
    found = share_with_interval([1] * 64 + [0] * 36, list(range(100)))
    z, n, p = student_quantile(0.95, 99), 100 * 0.64 * 0.36 / (100 / 99 * 0.64 * 0.36), 0.64
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    expected = [(middle + sign * half) / (1 + z * z / n) for sign in (-1, 1)]
    assert list(found.interval) == pytest.approx(expected, rel=1e-12)
    assert (found.share, found.count, found.prompts, found.raters) == (0.64, 100, 100, 0)


def test_choices_that_repeat_a_prompt_count_less() -> None:
    values = [1, 1, 1, 1, 0, 0, 0, 0] * 10
    each = share_with_interval(values, list(range(80)))
    four = share_with_interval(values, [row // 4 for row in range(80)])  # all four agree with each other
    assert four.interval.high - four.interval.low > 1.8 * (each.interval.high - each.interval.low)


def test_all_right_is_not_certain() -> None:
    found = share_with_interval([1] * 20, list(range(20)))
    assert found.share == 1
    assert 0.75 < found.interval.low < 0.9
    assert found.interval.high == 1


def test_one_prompt_has_no_interval_and_nothing_no_share() -> None:
    assert share_with_interval([1, 0], ["a", "a"]).interval.to_json() is None
    with pytest.raises(ConfigError, match="needs choices"):
        share_with_interval([], [])
    with pytest.raises(ConfigError, match="needs choices"):
        share_with_interval([1], ["a"], ["x", "y"])


@pytest.mark.parametrize("accuracy", [0.55, 0.64, 0.75, 0.9])
@pytest.mark.parametrize(
    ("prompts", "each", "alike"), [(100, 1, 0.0), (300, 1, 0.0), (50, 4, 0.2), (100, 10, 0.1)]
)
@pytest.mark.few(5)
def test_intervals_hold_a_known_accuracy(accuracy: float, prompts: int, each: int, alike: float) -> None:
    """Raters whose accuracy is known, on prompts that differ in difficulty (beta, correlation `alike`)."""
    generator = np.random.default_rng(0)
    ids = np.repeat(np.arange(prompts), each)
    held = 0
    for _ in range(SIMULATIONS):
        easy = np.full(prompts, accuracy)
        if alike:
            grown = (1 - alike) / alike
            easy = generator.beta(accuracy * grown, (1 - accuracy) * grown, prompts)
        agreed = generator.random(len(ids)) < easy[ids]
        low, high = share_with_interval(agreed, ids.tolist()).interval
        held += low <= accuracy <= high
    assert 0.93 <= held / SIMULATIONS <= 0.97


def test_intervals_over_prompts_and_raters_hold_where_those_over_prompts_do_not() -> None:
    """Raters differ too, and each sees many prompts: agreement is 64 % in the mean over both."""
    generator = np.random.default_rng(1)
    held = {True: 0, False: 0}
    for _ in range(SIMULATIONS):
        rater = np.arange(40 * 20) // 20
        prompt = generator.integers(0, 100, len(rater))
        chance = 0.64 + generator.normal(0, 0.1, 40)[rater] + generator.normal(0, 0.1, 100)[prompt]
        agreed = generator.random(len(rater)) < np.clip(chance, 0, 1)
        for both in held:
            found = share_with_interval(agreed, prompt.tolist(), rater.tolist() if both else None)
            held[both] += found.interval.low <= 0.64 <= found.interval.high
    assert 0.93 <= held[True] / SIMULATIONS <= 0.97
    assert held[False] / SIMULATIONS < 0.93
