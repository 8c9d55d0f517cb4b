"""What was measured: every score once, the images spent, and differences between arms and plain."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from dfprompt.prompt import DFPrompt
from dfprompt.search.candidates import Arm

Pair = tuple[DFPrompt, int]
Measure = Callable[[Sequence[Pair]], Sequence[float | None]]
"""Draws and scores pictures (DF-Prompt, seed); None where a picture has no score."""
Report = Callable[[str, int, int], None]
"""Called with the stage, the images measured and the budget."""


@dataclass(frozen=True)
class Round:
    """Pictures measured together, under the name of their stage."""

    stage: str
    pairs: tuple[Pair, ...]


class BudgetedScores:
    """Scores by (prompt, seed), within a budget of images that counts every one of them."""

    def __init__(self, plain: DFPrompt, measure: Measure, budget: int, report: Report | None = None) -> None:
        self.plain, self.budget = plain, budget
        self.scores: dict[Pair, float | None] = {}
        self.rounds: list[Round] = []
        self._measure, self._report = measure, report or (lambda stage, done, total: None)

    @property
    def spent(self) -> int:
        """Images measured so far."""
        return len(self.scores)

    @property
    def left(self) -> int:
        """Images the budget still has."""
        return self.budget - self.spent

    def measure(self, stage: str, pairs: Iterable[Pair]) -> None:
        """Measure what has no score yet; raises ValueError beyond the budget, a mistake of the caller."""
        new = [pair for pair in dict.fromkeys(pairs) if pair not in self.scores]
        if len(new) > self.left:
            raise ValueError(f"{len(new)} images asked for, and the budget has {self.left}")
        if not new:
            return
        self._report(stage, self.spent, self.budget)
        self.scores.update(zip(new, self._measure(new), strict=True))
        self.rounds.append(Round(stage, tuple(new)))
        self._report(stage, self.spent, self.budget)

    def differences(self, arm: DFPrompt, base: DFPrompt, seeds: Iterable[int] | None = None) -> list[float]:
        """Return `arm - base` for every seed both have a score for."""
        wanted = None if seeds is None else set(seeds)
        found = []
        for (prompt, seed), score in self.scores.items():
            other = self.scores.get((base, seed))
            if prompt != arm or score is None or other is None or (wanted is not None and seed not in wanted):
                continue
            found.append(score - other)
        return found

    def rank(self, arms: Iterable[Arm]) -> list[tuple[Arm, float]]:
        """Return arms with their shrunken mean differences to plain, best first."""
        ranked = [(arm, shrink(self.differences(arm.prompt, self.plain))) for arm in arms]
        return sorted(ranked, key=lambda item: -item[1])


def shrink(differences: Sequence[float]) -> float:
    """Return the mean difference drawn towards 0, as if one more seed had shown no difference.

    Of many candidates seen on one seed each the highest is mostly luck; shrinking lets one seen on several
    seeds stand above it.

    >>> shrink([1.0]), shrink([0.8, 0.8, 0.8])
    (0.5, 0.6000000000000001)
    """
    return sum(differences) / (len(differences) + 1)
