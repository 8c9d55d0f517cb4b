"""Answers with their methods: the only room that opens what the plan sealed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from dfprompt.errors import StudyError
from dfprompt.study.answers import Said, gather_answers
from dfprompt.study.plan import LEFT, PREFER, RIGHT, SHOWS
from dfprompt.study.sealing import unseal
from dfprompt.study.study import Study

Versus = tuple[str, str]
"""Two methods, in the plan's order."""


@dataclass(frozen=True)
class Vote:
    """One answer about two methods; a value is 1 for the first of them, 0 for the second, 1/2 for a draw.

    `pictures` are the first method's and the second's.
    """

    said: Said
    versus: Versus
    prompt_id: str
    pictures: tuple[str, str]

    @property
    def person(self) -> int:
        """The participant's number."""
        return self.said.person.number or 0

    def value(self, question: str) -> float:
        """Return what was said to a question."""
        chosen = self.said.chosen(question)
        return 0.5 if chosen is None else float(chosen == self.pictures[0])


@dataclass(frozen=True)
class Opened:
    """A study with its methods: answers of every kind, and the evaluation that the pictures are of."""

    study: Study
    methods: tuple[str, ...]
    evaluation: Path
    shown: Mapping[str, Mapping[str, object]]
    gold: Mapping[str, str]
    said: tuple[Said, ...]

    @cached_property
    def main(self) -> list[Vote]:
        """The answers that count."""
        return [self.vote(each) for each in self.said if each.trial.kind == "main"]

    def vote(self, said: Said) -> Vote:
        """Return an answer with the methods it was about."""
        trial = said.trial
        ordered = sorted((trial.left, trial.right), key=lambda each: self.methods.index(self._method(each)))
        first, second = ordered
        prompt_id = str(self.shown[first]["prompt_id"])
        return Vote(said, (self._method(first), self._method(second)), prompt_id, (first, second))

    def excluded(self) -> dict[int, str]:
        """Return whom the plan's rule leaves out, by number, with the reason."""
        by_person: dict[int, list[Said]] = defaultdict(list)
        for each in self.said:
            by_person[each.person.number or 0].append(each)
        reasons = {person: self._reason(said) for person, said in by_person.items()}
        return {person: reason for person, reason in reasons.items() if reason}

    def _reason(self, said: Sequence[Said]) -> str:
        rule = self.study.plan.exclusion
        if rule.unfinished and not said[0].person.finished:
            return "did not finish"
        wrong = sum(
            each.chosen(SHOWS) != self.gold[each.trial.pair] for each in said if each.trial.kind == "gold"
        )
        if rule.gold_failed and wrong >= rule.gold_failed:
            return "control pairs wrong"
        main = [each for each in said if each.trial.kind == "main"]
        if main and median(each.seconds for each in main) < rule.fastest_median:
            return "too fast"
        sides = [side for each in main for side in (each.shows, each.prefer) if side in (LEFT, RIGHT)]
        most = max(sides.count(LEFT), sides.count(RIGHT))
        return "one side" if len(sides) >= 10 and most > rule.same_side * len(sides) else ""

    def _method(self, picture: str) -> str:
        return str(self.shown[picture]["method"])


def open_votes(study: Study) -> Opened:
    """Unseal a study's methods; raises StudyError where that cannot be, or nobody has answered."""
    said = gather_answers(study)
    if not any(each.trial.kind == "main" for each in said):
        raise StudyError(f"{study.folder}: nobody has answered yet; there is nothing to report")
    sealed = unseal(study.folder)
    return Opened(
        study,
        tuple(sealed["methods"]),
        Path(sealed["evaluation"]),
        sealed["pictures"],
        sealed["gold"],
        tuple(said),
    )


QUESTIONS = (PREFER, SHOWS)
"""The primary question first."""
