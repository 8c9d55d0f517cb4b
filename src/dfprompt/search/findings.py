"""What a search found, in numbers: intervals per score, best of n plain pictures, what each span adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from dfprompt.prompt import DFPrompt
from dfprompt.search.candidates import Arm, Space
from dfprompt.search.engine import Outcome
from dfprompt.search.evidence import Evidence, weigh
from dfprompt.search.journal import Key, Scores


@dataclass(frozen=True)
class ScoreLine:
    """A score of the finalist and of plain on the fresh seeds both have it for."""

    score: str
    role: str
    plain: float
    finalist: float
    evidence: Evidence

    def to_json(self) -> dict[str, Any]:
        """Return score, role, plain and finalist (means), pairs, difference, interval, p."""
        means = {"plain": self.plain, "finalist": self.finalist}
        return {"score": self.score, "role": self.role, **means, **self.evidence.to_json()}


@dataclass(frozen=True)
class BestOf:
    """The best of `n` plain pictures by the reward, beside the finalist's mean and its best of as many."""

    n: int
    plain: float
    finalist_mean: float
    finalist_best: float

    def to_json(self) -> dict[str, Any]:
        """Return n, best_plain, finalist_mean, finalist_best."""
        return {
            "n": self.n,
            "best_plain": self.plain,
            "finalist_mean": self.finalist_mean,
            "finalist_best": self.finalist_best,
        }


@dataclass(frozen=True)
class Share:
    """What a span adds: the finalist against itself without the span; None where that was never drawn."""

    span: str
    evidence: Evidence | None

    def to_json(self) -> dict[str, Any]:
        """Return span, and pairs, difference, interval, p or nulls."""
        empty = {"pairs": 0, "difference": None, "interval": None, "p": None}
        return {"span": self.span, **(self.evidence.to_json() if self.evidence else empty)}


def compare_on_fresh(
    outcome: Outcome, scored: Mapping[Key, Scores], roles: Mapping[str, str]
) -> list[ScoreLine]:
    """Return a line per score for the finalist, from the fresh seeds alone; failed scores are left out."""
    if outcome.finalist is None:
        return []
    lines = []
    for name, role in roles.items():
        pairs = _pairs(outcome, scored, name)
        evidence = weigh([own - plain for own, plain in pairs])
        if evidence is not None:
            own, plain = (fmean(column) for column in zip(*pairs, strict=True))
            lines.append(ScoreLine(name, role, plain, own, evidence))
    return lines


def _pairs(outcome: Outcome, scored: Mapping[Key, Scores], name: str) -> list[tuple[float, float]]:
    assert outcome.finalist is not None
    prompts = (str(outcome.finalist.prompt), str(outcome.ledger.plain))
    found = []
    for seed in outcome.fresh_seeds:
        own, plain = (scored.get((prompt, seed), Scores()).scores.get(name) for prompt in prompts)
        if own is not None and plain is not None:
            found.append((own, plain))
    return found


def best_of_plain(outcome: Outcome) -> BestOf | None:
    """Return how drawing plain several times and keeping the best compares, on the fresh seeds."""
    if outcome.finalist is None:
        return None
    ledger = outcome.ledger
    columns = [
        [ledger.scores.get((prompt, seed)) for seed in outcome.fresh_seeds]
        for prompt in (ledger.plain, outcome.finalist.prompt)
    ]
    plain, own = ([score for score in column if score is not None] for column in columns)
    if not plain or not own:
        return None
    return BestOf(len(plain), max(plain), fmean(own), max(own))


def attribute(outcome: Outcome, space: Space) -> list[Share]:
    """Return what each span of the finalist adds, from the pictures of the whole search.

    Of a single span the fresh seeds say it without bias. Within a combination the seeds are those of the
    search, on which the finalist was chosen: a hint, not proof.
    """
    arm = outcome.finalist
    if arm is None:
        return []
    if len(arm.spans) == 1:
        return [Share(str(arm.spans[0]), outcome.evidence)]
    return [Share(str(span), _without(outcome, space, arm, at)) for at, span in enumerate(arm.spans)]


def _without(outcome: Outcome, space: Space, arm: Arm, at: int) -> Evidence | None:
    rest: Sequence[Any] = (*arm.spans[:at], *arm.spans[at + 1 :])
    base: DFPrompt = space.make(rest).prompt
    return weigh(outcome.ledger.differences(arm.prompt, base))
