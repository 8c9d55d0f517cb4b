"""Studies that nobody took part in: answers drawn from people and prompts that differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dfprompt.statistics.agreement import Codes
from dfprompt.statistics.intervals import Array
from dfprompt.study.schedule import share_out

_BLOCK = 2**21  # answers held at once
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(61)


@dataclass(frozen=True)
class Design:
    """Who answers what: for every answer the number of its participant and of its prompt, (R,) each."""

    participants: Codes
    prompts: Codes

    @property
    def answers(self) -> int:
        """How many answers there are."""
        return len(self.participants)


def make_design(pairs: Sequence[int], participants: int, each: int, seed: int) -> Design:
    """Return a design as `study plan` makes it; `pairs` (N,) says the prompt of every pair.

    >>> make_design(range(5), participants=3, each=2, seed=0).answers
    6
    """
    hands = share_out(len(pairs), participants, each, seed)
    seen = np.array([pair for hand in hands for pair in hand])
    return Design(np.repeat(np.arange(participants), each), np.asarray(pairs, dtype=np.int64)[seen])


@dataclass(frozen=True)
class Spread:
    """How people and prompts differ in how one method is liked (logits), and the share of draws."""

    participants: float = 0.5
    prompts: float = 0.7
    draws: float = 0.15


def logit_of(preference: float, spread: Spread) -> float:
    """Return the mean logit at which a method is preferred with this share, draws counted half.

    The share is over all people and prompts: the mean of the logistic function over a normal distribution,
    by Gauss-Hermite quadrature.

    >>> round(logit_of(0.6, Spread(0, 0, 0)), 4), abs(logit_of(0.5, Spread())) < 1e-8
    (0.4055, True)
    """
    won = min(max((preference - spread.draws / 2) / (1 - spread.draws), 1e-6), 1 - 1e-6)
    deviation = math.hypot(spread.participants, spread.prompts)

    def share(logit: float) -> float:
        return float(_WEIGHTS @ _logistic(logit + deviation * _NODES) / _WEIGHTS.sum())

    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) < won else (low, middle)
    return round(low, 9)


def simulate(design: Design, preference: float, spread: Spread, studies: int, seed: int) -> Iterator[Array]:
    """Yield the answers (S, R) of many studies in blocks: 1 for the method, 0 for the other, 1/2 for a draw.

    Every participant and every prompt has an effect of its own in each study.
    """
    random = np.random.default_rng(seed)
    logit = logit_of(preference, spread)
    block = max(1, _BLOCK // design.answers)
    people, prompts = int(design.participants.max()) + 1, int(design.prompts.max()) + 1
    for start in range(0, studies, block):
        count = min(block, studies - start)
        by_person = logit + spread.participants * _normal(random, count, people)
        liking = by_person[:, design.participants]
        liking += (spread.prompts * _normal(random, count, prompts))[:, design.prompts]
        lot = random.random((count, design.answers), dtype=np.float32)
        won = (lot < (1 - spread.draws) * _logistic(liking)).astype(np.float64)
        won[lot >= 1 - spread.draws] = 0.5
        yield won


def _normal(random: np.random.Generator, rows: int, columns: int) -> npt.NDArray[np.float32]:
    return random.standard_normal((rows, columns), dtype=np.float32)


def _logistic(logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return 1 / (1 + np.exp(-logits))
