"""Paired comparisons: differences, shares of pairs won, intervals and a test, in one shape.

The unit is the prompt. Pictures of one prompt with several seeds are not independent, so every seed's
difference is averaged within its prompt first, and prompts (each with all its seeds) are what is resampled
and what is flipped. Resampling the seeds inside a drawn prompt once more would count their noise twice:
the prompt means already vary with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from dfprompt.statistics.intervals import Array, Interval, bootstrap_interval
from dfprompt.statistics.significance import sign_flip_test

Key: TypeAlias = tuple[str, int]
"""Prompt and seed."""

TWO_SIDED = "sign flip, two-sided"
ONE_SIDED = "Student t, one-sided"


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline in one score, over the pairs both have.

    `difference` is the mean over prompts of the mean over seeds, in the score's unit. `mean` and
    `baseline_mean` are the two means it is the difference of, over the same pairs; None where differences
    alone were given. `win_rate` is the share of pairs won (ties count half), prompts weighted equally; `won`,
    `tied` and `lost` count pairs. `p` is of the test that `test` names. `units` says what the interval and
    the test resample: "prompts", or "seeds" where there is a single prompt and the result holds for that
    prompt alone.
    """

    difference: float
    interval: Interval
    win_rate: float
    win_interval: Interval
    p: float
    prompts: int
    pairs: int
    units: str
    won: int
    tied: int
    lost: int
    test: str = TWO_SIDED
    mean: float | None = None
    baseline_mean: float | None = None

    @property
    def bounded(self) -> bool:
        """Whether there were enough units for an interval."""
        return not math.isnan(self.interval.low)

    def to_json(self) -> dict[str, Any]:
        """Return every number; an interval is two numbers, or null where there are too few units for one."""
        return {
            "difference": self.difference,
            "interval": self.interval.to_json(),
            "mean": self.mean,
            "baseline_mean": self.baseline_mean,
            "win_rate": self.win_rate,
            "win_interval": self.win_interval.to_json(),
            "won": self.won,
            "tied": self.tied,
            "lost": self.lost,
            "p": self.p,
            "test": self.test,
            "prompts": self.prompts,
            "pairs": self.pairs,
            "units": self.units,
        }


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
    return Comparison(
        difference=float(means.mean()),
        interval=bootstrap_interval(means, seed=seed),
        p=float(sign_flip_test(means, seed=seed)),
        units=units,
        mean=mean_of_prompts({key: value for key, value in scores.items() if key in baseline}),
        baseline_mean=mean_of_prompts({key: baseline[key] for key in scores if key in baseline}),
        **count_wins(differences, seed=seed),
    )


def count_wins(differences: Mapping[str, Sequence[float]], *, seed: int = 0) -> dict[str, Any]:
    """Return the fields of a Comparison that count pairs, of differences by prompt.

    >>> found = count_wins({"a": [1.0, 0.0], "b": [-1.0]})
    >>> found["won"], found["tied"], found["lost"], found["win_rate"]
    (1, 1, 1, 0.375)
    """
    wins, _ = resampled_units({prompt: _wins(values) for prompt, values in differences.items()})
    flat = [value for values in differences.values() for value in values]
    return {
        "win_rate": float(wins.mean()),
        "win_interval": _within_shares(bootstrap_interval(wins, seed=seed)),
        "won": sum(value > 0 for value in flat),
        "tied": sum(value == 0 for value in flat),
        "lost": sum(value < 0 for value in flat),
        "prompts": len(differences),
        "pairs": len(flat),
    }


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


def mean_of_prompts(values: Mapping[Key, float]) -> float:
    """Return the mean over prompts of the mean over seeds.

    >>> mean_of_prompts({("a", 0): 1.0, ("a", 1): 3.0, ("b", 0): 5.0})
    3.5
    """
    by_prompt: dict[str, list[float]] = {}
    for (prompt, _), value in values.items():
        by_prompt.setdefault(prompt, []).append(value)
    return float(np.mean([np.mean(each) for each in by_prompt.values()]))
