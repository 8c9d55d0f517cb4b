"""What people said: shares with intervals over people and prompts, tests, agreement, order of methods."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dfprompt.statistics.agreement import Share, share_with_interval
from dfprompt.statistics.concordance import agree_by_unit, fleiss_kappa, krippendorff_alpha
from dfprompt.statistics.davidson import Strengths, fit_davidson
from dfprompt.statistics.significance import sign_test
from dfprompt.study.plan import LEFT, RIGHT
from dfprompt.study.study import ABOUT
from dfprompt.study.votes import QUESTIONS, Opened, Versus, Vote

FEWEST = 10
"""People below which no subgroup is shown: fewer could be recognised."""


@dataclass(frozen=True)
class SignTest:
    """How many units lean to either side, and the chance of that or less even a split."""

    above: int
    below: int
    p: float


@dataclass(frozen=True)
class Line:
    """What was said of two methods to one question; shares are the first's."""

    question: str
    versus: Versus
    share: Share
    chosen: int
    against: int
    draws: int
    by_person: SignTest
    by_prompt: SignTest

    @property
    def decided(self) -> float:
        """The share of those who chose; NaN where nobody did."""
        return self.chosen / (self.chosen + self.against) if self.chosen + self.against else math.nan


@dataclass(frozen=True)
class Agreement:
    """How far people agree with each other, over pairs seen by two or more.

    Alpha and kappa are of three names: first, second, draw. `alike` is the chance that two people who both
    chose, of one pair, chose the same picture.
    """

    question: str
    alpha: float
    kappa: float
    alike: float
    pairs: int


@dataclass(frozen=True)
class Subgroup:
    """The shares of those who said one thing of themselves; None where they are too few to be shown."""

    field: str
    value: str
    people: int
    lines: tuple[Line, ...] | None


@dataclass(frozen=True)
class Analysis:
    """Everything said of one set of people."""

    people: int
    answers: int
    lines: tuple[Line, ...]
    agreement: tuple[Agreement, ...]
    strengths: dict[str, Strengths]
    left: dict[str, Share | None]
    repeated: dict[str, Share | None]
    subgroups: tuple[Subgroup, ...]
    seconds: tuple[float, float, float]


def analyse(opened: Opened, left_out: Sequence[int] = ()) -> Analysis | None:
    """Return what people said, without those left out; None where nobody is left."""
    votes = [vote for vote in opened.main if vote.person not in left_out]
    if not votes:
        return None
    seconds = np.percentile([vote.said.seconds for vote in votes], [25, 50, 75])
    return Analysis(
        people=len({vote.person for vote in votes}),
        answers=len(votes),
        lines=tuple(_lines(votes, opened.methods)),
        agreement=tuple(_agreement(votes, question) for question in QUESTIONS),
        strengths={question: _strengths(votes, question, opened.methods) for question in QUESTIONS}
        if len(opened.methods) > 2
        else {},
        left={question: _left(votes, question) for question in QUESTIONS},
        repeated={question: _repeated(opened, question, left_out) for question in QUESTIONS},
        subgroups=tuple(_subgroups(votes, opened.methods)),
        seconds=(float(seconds[0]), float(seconds[1]), float(seconds[2])),
    )


def _lines(votes: Sequence[Vote], methods: Sequence[str]) -> list[Line]:
    return [
        _line(found, question, versus)
        for question in QUESTIONS
        for versus in itertools.combinations(methods, 2)
        if (found := [vote for vote in votes if vote.versus == versus])
    ]


def _line(votes: Sequence[Vote], question: str, versus: Versus) -> Line:
    values = [vote.value(question) for vote in votes]
    return Line(
        question,
        versus,
        _share(values, votes),
        values.count(1.0),
        values.count(0.0),
        values.count(0.5),
        _sign_test(votes, values, lambda vote: vote.person),
        _sign_test(votes, values, lambda vote: vote.prompt_id),
    )


def _share(values: Sequence[float], votes: Sequence[Vote]) -> Share:
    return share_with_interval(values, [vote.prompt_id for vote in votes], [vote.person for vote in votes])


def _sign_test(votes: Sequence[Vote], values: Sequence[float], unit: Callable[[Vote], Hashable]) -> SignTest:
    sums: dict[Hashable, float] = defaultdict(float)
    for vote, value in zip(votes, values, strict=True):
        sums[unit(vote)] += value - 0.5
    above, below = (sum(sign * each > 0 for each in sums.values()) for sign in (1, -1))
    return SignTest(above, below, sign_test(above, below))


def _agreement(votes: Sequence[Vote], question: str) -> Agreement:
    counts: dict[str, Counter[float]] = defaultdict(Counter)
    for vote in votes:
        counts[vote.said.trial.pair][vote.value(question)] += 1
    table = np.array([[each[value] for value in (1.0, 0.0, 0.5)] for each in counts.values()])
    chosen = table[table[:, :2].sum(axis=1) >= 2, :2]
    alike = float(agree_by_unit(chosen).mean()) if len(chosen) else math.nan
    pairs = int((table.sum(axis=1) >= 2).sum())
    return Agreement(question, krippendorff_alpha(table), fleiss_kappa(table), alike, pairs)


def _strengths(votes: Sequence[Vote], question: str, methods: Sequence[str]) -> Strengths:
    rows = [(*map(methods.index, vote.versus), vote.value(question)) for vote in votes]
    return fit_davidson(rows, _numbers([vote.person for vote in votes]), _prompts(votes), len(methods))


def _prompts(votes: Sequence[Vote]) -> Any:
    return _numbers([vote.prompt_id for vote in votes])


def _numbers(units: Sequence[Hashable]) -> Any:
    known = {unit: number for number, unit in enumerate(dict.fromkeys(units))}
    return np.array([known[unit] for unit in units])


def _left(votes: Sequence[Vote], question: str) -> Share | None:
    """Return how often the left picture was chosen, of those who chose."""
    sides = [(vote, getattr(vote.said, question)) for vote in votes]
    chosen = [(vote, float(side == LEFT)) for vote, side in sides if side in (LEFT, RIGHT)]
    return _share([value for _, value in chosen], [vote for vote, _ in chosen]) if chosen else None


def _repeated(opened: Opened, question: str, left_out: Sequence[int]) -> Share | None:
    """Return how often a pair that came again with its sides swapped was answered as before."""
    first = {(vote.person, vote.said.trial.pair): vote.value(question) for vote in opened.main}
    again = [opened.vote(each) for each in opened.said if each.trial.kind == "repeat"]
    known = [
        (vote, float(vote.value(question) == first[vote.person, vote.said.trial.pair]))
        for vote in again
        if vote.person not in left_out and (vote.person, vote.said.trial.pair) in first
    ]
    return _share([value for _, value in known], [vote for vote, _ in known]) if known else None


def _subgroups(votes: Sequence[Vote], methods: Sequence[str]) -> list[Subgroup]:
    found = []
    for field in ABOUT:
        groups: dict[str, list[Vote]] = defaultdict(list)
        for vote in votes:
            groups[vote.said.person.about.get(field) or "not said"].append(vote)
        if set(groups) == {"not said"}:
            continue
        for value, group in sorted(groups.items()):
            people = len({vote.person for vote in group})
            lines = tuple(_lines(group, methods)) if people >= FEWEST else None
            found.append(Subgroup(field, value, people, lines))
    return found
