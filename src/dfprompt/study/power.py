"""What a design can see: power simulated with effects of people and prompts, before anyone is asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from dfprompt.statistics.agreement import share_intervals
from dfprompt.study.simulation import Design, Spread, make_design, simulate

TARGET = 0.8
"""The power that a difference is to be seen with."""
SHARES = (0.55, 0.6, 0.65)
"""The shares preferred whose power is printed."""
_STUDIES, _FEWEST, _WORK = 2000, 500, 4 * 10**6
_ALIKE = 0.002
_FARTHEST = 0.45
_CRITICAL, _WANTED = NormalDist().inv_cdf(0.975), NormalDist().inv_cdf(TARGET)


@dataclass(frozen=True)
class Power:
    """What a design sees of one pair of methods, and what other designs would.

    `detectable` is the share preferred (draws half) that is told from a half with 80 %, None where not even
    95 % would be; `chances` are the powers at 55, 60 and 65 %. `more_people` and `more_prompts` are what
    twice as many would bring, `studies` how many were simulated at each point.
    """

    design: Design
    spread: Spread
    chances: dict[float, float]
    detectable: float | None
    more_people: float | None
    more_prompts: float | None
    studies: int

    def sentence(self) -> str:
        """Return what is printed and stored in the plan."""
        spread, design = self.spread, self.design
        known = ", ".join(f"{chance:.0%} at {share:.0%}" for share, chance in self.chances.items())
        prompts = len(np.unique(design.prompts))
        parts = [
            f"Per pair of methods {design.answers} answers on {prompts} prompts: power {known} preferred "
            f"(draws counted half, two-sided, 5 %); 80 % at {_said(self.detectable)}.",
            f"With twice the people 80 % at {_said(self.more_people)}, with twice the prompts and as many "
            f"answers at {_said(self.more_prompts)}: {self._advice()}.",
            f"Simulated {self.studies} times per point, assuming that people differ by "
            f"{spread.participants:g} and prompts by {spread.prompts:g} logits (standard deviations) and "
            f"{spread.draws:.0%} of answers are draws.",
        ]
        return " ".join(parts).replace("%", " %").replace("  %", " %")

    def _advice(self) -> str:
        people, prompts = (each or 1.0 for each in (self.more_people, self.more_prompts))
        if abs(people - prompts) < _ALIKE:
            return "people and prompts help alike"
        return "more prompts help more" if prompts < people else "more people help more"

    def to_json(self) -> dict[str, Any]:
        """Return every number."""
        return {
            "answers": self.design.answers,
            "power": {f"{share:g}": chance for share, chance in self.chances.items()},
            "detectable": self.detectable,
            "detectable_with_twice_the_people": self.more_people,
            "detectable_with_twice_the_prompts": self.more_prompts,
            "studies": self.studies,
        }


def compute_power(
    pairs: Sequence[int], participants: int, each: int, spread: Spread, *, seed: int = 0
) -> Power:
    """Return the power of a design; `pairs` (N,) are the prompts' numbers of one pair of methods' pairs.

    `each` is how many of them a person sees. Everything is simulated: nothing assumes a formula for the width
    of an interval.
    """
    design = make_design(pairs, participants, each, seed)
    people = make_design(pairs, 2 * participants, each, seed)
    apart = max(pairs) + 1
    prompts = make_design([*pairs, *(pair + apart for pair in pairs)], participants, each, seed)
    studies = count_studies(design)
    return Power(
        design,
        spread,
        {share: power_at(design, share, spread, studies, seed) for share in SHARES},
        find_detectable(design, spread, seed),
        find_detectable(people, spread, seed),
        find_detectable(prompts, spread, seed),
        studies,
    )


def count_studies(design: Design) -> int:
    """Return how often a design is simulated: less often the larger it is."""
    return max(_FEWEST, min(_STUDIES, _WORK // design.answers))


def power_at(design: Design, preference: float, spread: Spread, studies: int, seed: int = 0) -> float:
    """Return the share of simulated studies whose two-way interval leaves out one half.

    >>> from dfprompt.study.simulation import make_design
    >>> power_at(make_design(range(40), 40, 20, seed=0), 0.9, Spread(), 50)
    1.0
    """
    seen = [
        (ends[:, 0] > 0.5) | (ends[:, 1] < 0.5)
        for values in simulate(design, preference, spread, studies, seed)
        for ends in [share_intervals(values, design.prompts, design.participants)]
    ]
    return float(np.concatenate(seen).mean())


def find_detectable(design: Design, spread: Spread, seed: int = 0) -> float | None:
    """Return the share preferred that is seen with 80 %, to about 0.1 points; None for none up to 95 %.

    The first guess comes from how the share varies where nothing is preferred. The power found there moves
    it, on the scale on which power is a straight line (that of the normal distribution); twice is enough.
    """
    studies = count_studies(design) // 2
    shares = [values.mean(axis=1) for values in simulate(design, 0.5, spread, studies, seed)]
    reach = (_CRITICAL + _WANTED) * float(np.concatenate(shares).std())
    for _ in range(2):
        if reach > _FARTHEST:
            return None
        chance = power_at(design, 0.5 + reach, spread, studies, seed)
        seen = NormalDist().inv_cdf(min(max(chance, 0.02), 0.998))
        reach *= (_CRITICAL + _WANTED) / (_CRITICAL + seen)
    return round(0.5 + reach, 4)


def _said(share: float | None) -> str:
    return "no share" if share is None else f"{share:.1%} preferred"
