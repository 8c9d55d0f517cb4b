"""What a table of results needs to be believed, each point filled in from the evaluation itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from dfprompt.evaluation.answers import ARTEFACTS, FIDELITY
from dfprompt.evaluation.methods import BestOf, Method, PolicyMethod
from dfprompt.evaluation.summary import Summary
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.rewards import CompositeReward, Score

State = Literal["present", "missing", "not needed"]
_CHOICES_WANTED = 100
_SEEDS_WANTED = 3


@dataclass(frozen=True)
class Point:
    """One point of the list: what is asked, whether it is there, and what there is."""

    what: str
    state: State
    detail: str


def fill_checklist(
    summary: Summary, methods: Sequence[Method], board: Scoreboard, *, rewriter: str = ""
) -> list[Point]:
    """Return every point; `rewriter` is what the pipeline's own rewriter is called, "" where it has none."""
    judges = [score for score, kind in board.kinds.items() if kind == "judge"]
    return [
        _vendor(methods, rewriter),
        _best_of(methods),
        Point("scored on the user's words", "present", "every score reads the plain prompt"),
        _measured("an atomic judge of fidelity", FIDELITY, summary.measures, judges),
        _other_family(board, judges),
        _checked(summary, judges),
        _paired(summary),
        _training_seeds(methods),
        _artefacts(summary),
        Point("diversity", "present", "distinct modifiers, overlap of prompts, share left alone"),
        Point("cost per prompt", "present", "pictures and seconds, those thrown away included"),
        Point("a human subset with two-way intervals", "missing", "no person chose between these pictures"),
        _failures(summary),
    ]


def _vendor(methods: Sequence[Method], rewriter: str) -> Point:
    what = "the pipeline's own rewriter, off and on"
    if not rewriter:
        return Point(what, "not needed", "this pipeline has none")
    if any(getattr(method, "vendor", False) for method in methods):
        return Point(what, "present", f"method vendor ({rewriter}); off in every other method")
    return Point(what, "missing", f"add the method vendor ({rewriter}); it was off throughout")


def _best_of(methods: Sequence[Method]) -> Point:
    what = "best-of-n of the plain prompt at equal pictures"
    counts = [method.pictures for method in methods if isinstance(method, BestOf)]
    others = {method.pictures for method in methods if not isinstance(method, BestOf)}
    if not counts:
        return Point(what, "missing", "add best-of-4")
    best, rest = (", ".join(map(str, sorted(each))) for each in (counts, others))
    return Point(what, "present", f"best of {best}; the others draw {rest}")


def _measured(what: str, kind: str, measures: Mapping[str, str], judges: Sequence[str]) -> Point:
    found = [score for score, measured in measures.items() if measured == kind and score in judges]
    return (
        Point(what, "present", ", ".join(found)) if found else Point(what, "missing", "name one by --judge")
    )


def _other_family(board: Scoreboard, judges: Sequence[str]) -> Point:
    """A judge on models that no reward uses; two scores of one kind are one family."""
    what = "a judge from another family than the reward"
    optimised = [board.scores[name] for name, kind in board.kinds.items() if kind == "reward"]
    families = {family for score in optimised for family in _families(score)}
    found = [name for name in judges if not families & _families(board.scores[name])]
    if found:
        return Point(what, "present", ", ".join(found))
    return Point(
        what, "missing", "every judge is of a kind that the reward is made of" if judges else "no judge"
    )


def _families(score: Score) -> set[str]:
    """Return the kinds a score is made of: its parts' classes, and the models behind them."""
    parts = (
        [*score.parts.values(), *(each for each, _ in score.extra.values())]
        if isinstance(score, CompositeReward)
        else [score]
    )
    return {family for part in parts for family in (part.family, *(id_of(tower) for tower in part.towers()))}


def id_of(tower: object) -> str:
    """Return what tells one model from another in this process."""
    return f"model {id(tower)}"


def _checked(summary: Summary, judges: Sequence[str]) -> Point:
    what = f"each judge's accuracy on {_CHOICES_WANTED} choices on this generator's pictures"
    known = {name: summary.checks[name].agreement.count for name in judges if name in summary.checks}
    told = ", ".join(
        f"{name}: {known[name]} choices" if name in known else f"{name}: not checked" for name in judges
    )
    enough = bool(judges) and all(known.get(name, 0) >= _CHOICES_WANTED for name in judges)
    return Point(what, "present" if enough else "missing", told or "no judge")


def _paired(summary: Summary) -> Point:
    what = "paired seeds, intervals over prompts"
    units = {line.comparison.units for line in summary.scores if line.comparison is not None}
    if units == {"seeds"}:
        return Point(what, "missing", "one prompt: the intervals are over its seeds")
    return Point(
        what, "present", f"{summary.prompts} prompts, {summary.seeds} seeds each, one noise for all methods"
    )


def _training_seeds(methods: Sequence[Method]) -> Point:
    what = f"every training seed, {_SEEDS_WANTED} at least"
    policies = {method.policy.digest for method in methods if isinstance(method, PolicyMethod)}
    if not policies:
        return Point(what, "not needed", "no policy takes part")
    state: State = "present" if len(policies) >= _SEEDS_WANTED else "missing"
    return Point(
        what, state, f"{len(policies)} polic{'y' if len(policies) == 1 else 'ies'}: NAME=FOLDER adds one"
    )


def _artefacts(summary: Summary) -> Point:
    what = "a check for artefacts or unlike pictures"
    found = [score for score, measured in summary.measures.items() if measured == ARTEFACTS]
    found += ["CMMD"] if any(line.cmmd is not None for line in summary.methods) else []
    return (
        Point(what, "present", ", ".join(found))
        if found
        else Point(what, "missing", "add such a --judge, or --reference")
    )


def _failures(summary: Summary) -> Point:
    lost = sum(each.rows for each in summary.failures)
    return Point("failures counted", "present", f"{lost} failed" if lost else "none failed")
