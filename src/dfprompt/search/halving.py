"""Successive halving: many arms on one seed, the better third on one more, and so on.

K. Jamieson and A. Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization, 2016,
with a third kept instead of a half and every seed common to all arms of its round, so that the differences
to plain are paired.
"""

from __future__ import annotations

from collections.abc import Sequence

from dfprompt.search.budgeted_scores import BudgetedScores
from dfprompt.search.candidates import Arm

_KEPT = 3  # one arm in so many goes on
_FINALISTS = 3


def plan_rounds(arms: int) -> list[int]:
    """Return how many arms each round has.

    >>> plan_rounds(30), plan_rounds(2)
    ([30, 10, 4], [2])
    """
    rounds = [arms]
    while rounds[-1] > _FINALISTS + 1:
        rounds.append(max(_FINALISTS, -(-rounds[-1] // _KEPT)))
    return rounds


def count_images(arms: int) -> int:
    """Return the images that halving this many arms takes, with a plain one per round."""
    return sum(count + 1 for count in plan_rounds(arms))


def fit_arms(images: int) -> int:
    """Return the most arms that can be halved within so many images; 0 for fewer than two.

    >>> fit_arms(17), count_images(11)
    (11, 17)
    """
    arms = max(0, images - 1)
    while arms and count_images(arms) > images:
        arms -= 1
    return arms


def halve(ledger: BudgetedScores, arms: Sequence[Arm], seeds: Sequence[int]) -> list[Arm]:
    """Measure arms round by round, each on the next seed; returns those of the last round, best first."""
    alive = list(arms)
    for number, count in enumerate(plan_rounds(len(arms))):
        alive = alive[:count]
        measured = (ledger.plain, *(arm.prompt for arm in alive))
        ledger.measure(f"candidates, round {number + 1}", [(prompt, seeds[number]) for prompt in measured])
        alive = [arm for arm, _ in ledger.rank(alive)]
    return alive
