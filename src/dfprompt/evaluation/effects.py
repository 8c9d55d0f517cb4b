"""What an ablation finds: one arm against another in one score, on the same prompts and noise."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Role
from dfprompt.statistics.comparison import Comparison, Key, compare_scores
from dfprompt.statistics.significance import adjust_holm

EVERY = "all modifiers"
"""In the place of one modifier's words: the mean over all of an ablation."""


@dataclass(frozen=True)
class Effect:
    """An arm against a baseline in one score.

    `modifier` is the words it is about, or EVERY. `comparison` is None where no pair could be scored;
    `adjusted_p` is its p after Holm's correction, None where the table makes no claim of it. `fresh`:
    measured on seeds that chose nothing.
    """

    modifier: str
    arm: str
    baseline: str
    score: str
    role: Role
    comparison: Comparison | None
    adjusted_p: float | None = None
    fresh: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the effect as a JSON object; None for what does not exist."""
        found = self.comparison
        return {
            "modifier": self.modifier,
            "arm": self.arm,
            "baseline": self.baseline,
            "score": self.score,
            "role": self.role,
            "fresh_seeds": self.fresh,
            "compared": None if found is None else {**found.to_json(), "p_holm": self.adjusted_p},
        }


class ScoreTable:
    """The scores of rows, by method and column."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._values: dict[tuple[str, str], dict[Key, float]] = {}
        for row in rows:
            for score, value in row.scores.items():
                self._values.setdefault((row.method, score), {})[row.prompt_id, row.seed] = value

    def of(self, method: str, score: str) -> Mapping[Key, float]:
        """Return a method's values by prompt and seed; empty where there are none."""
        return self._values.get((method, score), {})

    def compare(self, methods: Sequence[str], baselines: Sequence[str], score: str) -> Comparison | None:
        """Compare methods with their baselines, averaged over them within every prompt and seed.

        The pictures of one prompt and seed share their noise and their plain picture, whatever the modifier,
        so they are one observation and not several.
        """
        pairs = [
            (self.of(method, score), self.of(base, score))
            for method, base in zip(methods, baselines, strict=True)
        ]
        differences = mean_differences(pairs)
        return compare_scores(differences, dict.fromkeys(differences, 0.0))


def mean_differences(pairs: Iterable[tuple[Mapping[Key, float], Mapping[Key, float]]]) -> dict[Key, float]:
    """Return by prompt and seed the mean of `scores - baseline` over the pairs of mappings that have both.

    >>> mean_differences([({("a", 0): 3.0}, {("a", 0): 1.0}), ({("a", 0): 1.0}, {("a", 0): 1.0})])
    {('a', 0): 1.0}
    """
    found: dict[Key, list[float]] = {}
    for scores, baseline in pairs:
        for key in sorted(scores.keys() & baseline.keys()):
            found.setdefault(key, []).append(scores[key] - baseline[key])
    return {key: sum(values) / len(values) for key, values in found.items()}


def adjusted(effects: Sequence[Effect]) -> list[Effect]:
    """Return the effects with p adjusted by Holm over all of them that were compared."""
    p_values = iter(adjust_holm([found.p for effect in effects if (found := effect.comparison) is not None]))
    return [
        effect if effect.comparison is None else replace(effect, adjusted_p=next(p_values))
        for effect in effects
    ]
