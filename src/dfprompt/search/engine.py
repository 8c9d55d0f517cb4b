"""The search: candidates, combinations of the best, and a fresh look at the winner.

What did best among many is partly luck, so its scores during the search prove nothing. About half of the
images are kept for new seeds, on which only plain and the winner are drawn. There a one-sided Student
test decides, looked at twice: after half of the pairs at 1 %, after all at 4 %; together (Bonferroni)
at most 5 % of searches in which nothing works name a winner.

What the answer is worth beside simply drawing plain as often is asked last: plain is drawn until there are
as many plain pictures as the search measured in all, and the best of them stands beside the winner.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from dfprompt.search.budget import Budget
from dfprompt.search.budgeted_scores import BudgetedScores, Measure, Report, Round
from dfprompt.search.candidates import Arm, Space
from dfprompt.search.combine import propose
from dfprompt.search.halving import fit_arms, halve
from dfprompt.statistics.comparison import Comparison
from dfprompt.statistics.paired_t import compare_seeds

FIRST_LOOK, LAST_LOOK = 0.01, 0.04  # chances of a false winner at each look
FRESH = 1_000_000  # the first fresh seed lies this far behind the seeds of the search
_FEWEST_PAIRS = 4
_CANDIDATES_SHARE = 0.7  # of the images before the fresh ones; combinations have the rest
_BATCH = 12
_CLEAR_SEEDS = 4


@dataclass(frozen=True)
class Outcome:
    """What a search found.

    `finalist` is what did best in the search; `winner` the same if fresh seeds confirmed it, else None:
    nothing beat plain. `evidence` are the paired differences on `fresh_seeds`. `arms` is everything tried,
    `searched` the images of the search, fresh seeds included; what the ledger has beyond are plain pictures.
    """

    finalist: Arm | None
    winner: Arm | None
    evidence: Comparison | None
    fresh_seeds: tuple[int, ...]
    reason: str
    ledger: BudgetedScores
    arms: tuple[Arm, ...]
    searched: int

    @property
    def rounds(self) -> list[Round]:
        """The pictures by stage, in the order they were measured."""
        return self.ledger.rounds


def search(
    space: Space,
    measure: Measure,
    budget: Budget,
    *,
    seed: int = 0,
    elapsed: Callable[[], float] | None = None,
    report: Report | None = None,
) -> Outcome:
    """Find the arm that beats plain by the most, and make sure on fresh seeds.

    `measure` draws and scores; `elapsed` returns the seconds it took so far, read for a budget in minutes.
    The same scores (and seconds) lead to the same search: one that was cut off goes on by answering from
    what is recorded.
    """
    run = _Search(space, BudgetedScores(space.plain, measure, budget.images, report), budget, seed, elapsed)
    arms = run.look_around()
    finalist = run.choose(arms)
    if finalist is None:
        return run.answer(None, "no candidate stood above plain on the seeds of the search")
    outcome = run.make_sure(finalist)
    run.draw_plain_as_often(outcome)
    return outcome


class _Search:
    def __init__(
        self,
        space: Space,
        ledger: BudgetedScores,
        budget: Budget,
        seed: int,
        elapsed: Callable[[], float] | None,
    ) -> None:
        self.space, self.ledger, self.budget, self.seed = space, ledger, budget, seed
        self._elapsed = elapsed or (lambda: 0.0)
        self.kept = 2 * (budget.for_search // 4)  # for the fresh seeds
        self.seeds = range(seed, seed + budget.images)
        self.arms: list[Arm] = []

    @property
    def room(self) -> int:
        """Images left before those kept for the fresh seeds; none when half of the minutes are over."""
        seconds = self.budget.seconds_for_search
        if seconds is not None and self._elapsed() >= seconds / 2:
            return 0
        return self._left - self.kept

    @property
    def _left(self) -> int:
        """Images the search still has."""
        return self.budget.for_search - self.ledger.spent

    def look_around(self) -> list[Arm]:
        """Try candidates, then what can be made of the best; returns every arm tried."""
        images = int(self.room * _CANDIDATES_SHARE)
        arms = self.space.first(fit_arms(images))
        best = halve(self.ledger, arms, self.seeds)
        return self._climb(arms, best)

    def _climb(self, arms: list[Arm], best: list[Arm]) -> list[Arm]:
        """Spend what is left on combinations and variants, and on more seeds for the leaders."""
        for number in count(1):
            ranked = self.ledger.rank(arms)
            if self.room < 2 or ranked[0][1] <= 0:
                return arms
            # One seed alone says little: only what was seen as often as the finalists may be built upon.
            leaders = [item for item in ranked if self._seen(item[0]) >= self._seen(best[0])]
            proposed = [arm for arm in propose(self.space, leaders) if arm not in arms]
            batch = proposed[: max(1, min(_BATCH, int(self.room * 0.6)))]
            if not batch and self._seen(ranked[0][0]) >= _CLEAR_SEEDS:
                return arms
            arms, before = [*arms, *batch], self.ledger.spent
            self._try(batch, f"combinations, round {number}")
            self._add_seed(arms, number)
            if self.ledger.spent == before:
                return arms
        raise AssertionError("unreachable")

    def _try(self, batch: list[Arm], stage: str) -> None:
        """Measure new arms on the seeds of plain: all on the last one, the better half on the one before."""
        alive = batch
        for seed in sorted(self._known_seeds(), reverse=True):
            alive = alive[: max(0, self.room)]
            self.ledger.measure(stage, [(arm.prompt, seed) for arm in alive])
            alive = [arm for arm, _ in self.ledger.rank(alive)][: -(-len(alive) // 2)]

    def _add_seed(self, arms: list[Arm], number: int) -> None:
        """Draw plain and the leaders on one more seed, if there is room for more than one of them."""
        leaders = [arm for arm, estimate in self.ledger.rank(arms) if estimate > 0][: min(3, self.room - 1)]
        if self.room < 3 or not leaders:
            return
        seed = self.seeds[len(self._known_seeds())]
        prompts = (self.space.plain, *(arm.prompt for arm in leaders))
        self.ledger.measure(f"leaders, round {number}", [(prompt, seed) for prompt in prompts])

    def _known_seeds(self) -> list[int]:
        return [seed for prompt, seed in self.ledger.scores if prompt == self.space.plain]

    def _seen(self, arm: Arm) -> int:
        return len(self.ledger.differences(arm.prompt, self.space.plain))

    def choose(self, arms: list[Arm]) -> Arm | None:
        """Return the best arm above plain; one seen on a single seed only where none was seen on more."""
        self.arms = arms
        good = [arm for arm, estimate in self.ledger.rank(arms) if estimate > 0]
        return next((arm for arm in good if self._seen(arm) > 1), good[0] if good else None)

    def make_sure(self, arm: Arm) -> Outcome:
        """Draw plain and one arm on fresh seeds; stops after half of them if that is clear."""
        pairs = self._affordable_pairs()
        fresh = tuple(range(self.seed + FRESH, self.seed + FRESH + pairs))
        half = fresh[: max(_FEWEST_PAIRS, pairs // 2)]
        for seeds, chance in ((half, FIRST_LOOK), (fresh, LAST_LOOK)):
            self.ledger.measure(
                "fresh seeds", [(prompt, seed) for seed in seeds for prompt in (self.space.plain, arm.prompt)]
            )
            found = compare_seeds(self.ledger.differences(arm.prompt, self.space.plain, seeds))
            if found is None or found.pairs < _FEWEST_PAIRS:
                continue
            if found.p <= chance:
                return self.answer(arm, "", found, seeds, won=True)
            if found.interval.high < 0:  # never of NaN, where there is no interval
                return self.answer(arm, "the finalist is below plain on fresh seeds", found, seeds)
        return self.answer(arm, "the finalist is not clearly above plain on fresh seeds", found, fresh)

    def _affordable_pairs(self) -> int:
        """Return how many pairs the images and the minutes are still good for, at least a few."""
        pairs = self._left // 2
        limit = self.budget.seconds_for_search
        if limit is None:
            return pairs
        each = self._elapsed() / max(1, self.ledger.spent)
        return max(_FEWEST_PAIRS, min(pairs, int((limit - self._elapsed()) / (2 * each)) if each else pairs))

    def draw_plain_as_often(self, outcome: Outcome) -> None:
        """Draw plain on seeds of its own until there are as many plain pictures as the search measured."""
        missing = outcome.searched - len(self._known_seeds())
        if self.budget.best_of_n is False or missing > self.ledger.left:
            return
        if self.budget.best_of_n is None and self.budget.minutes is not None:
            each = self._elapsed() / max(1, self.ledger.spent)
            if self._elapsed() + missing * each > 60 * self.budget.minutes:
                return
        first = self.seed + 2 * FRESH
        self.ledger.measure(
            "plain as often", [(self.space.plain, seed) for seed in range(first, first + missing)]
        )

    def answer(
        self,
        arm: Arm | None,
        reason: str,
        evidence: Comparison | None = None,
        seeds: tuple[int, ...] = (),
        *,
        won: bool = False,
    ) -> Outcome:
        """Return the outcome."""
        winner, spent = arm if won else None, self.ledger.spent
        return Outcome(arm, winner, evidence, seeds, reason, self.ledger, tuple(self.arms), spent)
