"""From the folder of an evaluation to the pairs of a study: which pictures are shown beside which."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfprompt.config import nearest
from dfprompt.errors import StudyError
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.rows import Row
from dfprompt.requests.study import StudyPlanRequest
from dfprompt.study.plan import Kind

Place = tuple[str, int]
"""A prompt's id and a seed."""


@dataclass(frozen=True)
class DrawnPair:
    """Two measured pictures for one prompt's words; of a control pair `second` was drawn for other words."""

    kind: Kind
    prompt: str
    first: Row
    second: Row


class Evaluation:
    """The rows that a study may show: of every method the same prompts and seeds, every picture there.

    Raises StudyError for fewer than two methods, one that was not evaluated, prompts or seeds that one of
    them lacks, noise that differs, and pictures that failed or are not there.
    """

    def __init__(self, folder: Path, methods: Sequence[str]) -> None:
        self.folder, self.methods = folder, tuple(dict.fromkeys(methods))
        if len(self.methods) < 2:
            raise StudyError("a study compares two methods or more: --methods A,B")
        rows = read_rows(folder / ROWS)
        if not rows:
            raise StudyError(f"{folder / ROWS} holds no pictures; name the folder that `evaluate` wrote")
        known = list(dict.fromkeys(row.method for row in rows))
        for method in self.methods:
            if method not in known:
                raise StudyError(
                    f"{folder}: no method {quote(method)} was evaluated; {nearest(method, known)}"
                )
        self.rows = {(row.method, row.prompt_id, row.seed): row for row in rows if row.method in self.methods}
        self.places = self._shared_places()
        self._check_pictures()

    def row(self, method: str, place: Place) -> Row:
        """Return the row of a method at a place."""
        return self.rows[method, *place]

    def path(self, row: Row) -> Path:
        """Return the file of a row's picture."""
        return self.folder / str(row.picture)

    def _shared_places(self) -> list[Place]:
        found = {method: {key[1:]: None for key in self.rows if key[0] == method} for method in self.methods}
        first = found[self.methods[0]]
        for method, places in found.items():
            if odd := first.keys() ^ places.keys():
                prompt_id, seed = min(odd)
                raise StudyError(
                    f"{self.folder}: {self.methods[0]} and {method} were not drawn for the same prompts and "
                    f"seeds: prompt {quote(prompt_id)}, seed {seed} is of one alone ({len(odd)} such); "
                    "evaluate both on the same ones"
                )
            for place in places:
                self._check_noise(self.row(self.methods[0], place), self.row(method, place))
        return list(first)

    def _check_noise(self, one: Row, other: Row) -> None:
        chosen = one.pictures > 1 or other.pictures > 1  # the best of several is of the noise it was found on
        if one.noise != other.noise and not chosen:
            raise StudyError(
                f"{self.folder}: prompt {quote(one.prompt_id)}, seed {one.seed}: {one.method} was drawn from "
                f"noise {one.noise}, {other.method} from {other.noise}; evaluate both on the same seeds"
            )

    def _check_pictures(self) -> None:
        bad = [row for row in self.rows.values() if self._why_not(row)]
        if bad:
            row = bad[0]
            raise StudyError(
                f"{self.folder}: {len(bad)} of {len(self.rows)} pictures cannot be shown, the first of "
                f"{row.method}, prompt {quote(row.prompt_id)}, seed {row.seed}: {self._why_not(row)}; draw "
                "them again with `evaluate --resume`, or leave the method out"
            )

    def _why_not(self, row: Row) -> str:
        for name in ("method", "picture"):
            if name in row.failed:
                return row.failed[name] or f"{name} failed"
        if not row.picture:
            return "it was not drawn"
        path = self.path(row)
        if not path.resolve().is_relative_to(self.folder.resolve()):
            return f"{quote(row.picture)} lies outside the folder"
        return "" if path.is_file() else f"{quote(row.picture)} is not there"


def draw_pairs(evaluation: Evaluation, asked: StudyPlanRequest) -> list[DrawnPair]:
    """Return the pairs of a study in a drawn order: main, practice, controls.

    Prompts are used up before a second seed of one is drawn, because more prompts narrow an interval more
    than more answers. Pairs of methods take turns over the prompts. A control pair shows the first method's
    picture of a prompt beside its picture of the left-over prompt that shares the fewest words. No picture
    is used twice. Raises StudyError where the evaluation has too few pictures.
    """
    pairs, practice, gold = asked.pairs, asked.practice, asked.gold
    random = np.random.default_rng(asked.seed)
    places = _spread(evaluation.places, random)
    versus = list(itertools.combinations(evaluation.methods, 2))
    wanted = pairs + practice + 2 * gold
    if wanted > len(places):
        room = len(places) - practice - 2 * gold
        raise StudyError(
            f"{evaluation.folder} has {len(places)} pictures of each method (prompts x seeds); {pairs} "
            f"pairs, {practice} for practice and {gold} controls of two need {wanted}; ask for --pairs "
            f"{max(room, 0)} at most, for fewer --practice and --gold, or evaluate more prompts"
        )
    drawn: list[DrawnPair] = []
    for number, place in enumerate(places[: pairs + practice]):
        kind: Kind = "main" if number < pairs else "practice"
        one, other = (evaluation.row(method, place) for method in versus[number % len(versus)])
        drawn.append(DrawnPair(kind, one.prompt, one, other))
    drawn += _draw_gold(evaluation, places[pairs + practice :], gold)
    return drawn


def _spread(places: Sequence[Place], random: np.random.Generator) -> list[Place]:
    """Return the places shuffled: one of every prompt, then a second one, and so on."""
    by_prompt: dict[str, list[Place]] = defaultdict(list)
    for number in random.permutation(len(places)):
        by_prompt[places[number][0]].append(places[number])
    rounds = itertools.zip_longest(*by_prompt.values())
    return [place for each in rounds for place in each if place is not None]


def _draw_gold(evaluation: Evaluation, left: list[Place], count: int) -> list[DrawnPair]:
    method = evaluation.methods[0]
    rows = [evaluation.row(method, place) for place in left]
    drawn = []
    for _ in range(count):
        own = rows.pop(0)
        others = [row for row in rows if row.prompt.split() != own.prompt.split()]
        if not others:
            raise StudyError(
                f"{evaluation.folder}: no control pair can be made, all prompts left over have the same "
                "words; evaluate more prompts, or go without: --gold 0"
            )
        other = min(others, key=lambda row: _shared(own.prompt, row.prompt))
        rows.remove(other)
        drawn.append(DrawnPair("gold", own.prompt, own, other))
    return drawn


def _shared(one: str, other: str) -> float:
    """Return the share of words that two prompts have in common."""
    words, theirs = (set(text.casefold().split()) for text in (one, other))
    return len(words & theirs) / max(1, len(words | theirs))


def count_prompts(drawn: Sequence[DrawnPair]) -> int:
    """Return how many prompts the main pairs have."""
    return len({pair.first.prompt_id for pair in drawn if pair.kind == "main"})


def describe_row(row: Row) -> Mapping[str, object]:
    """Return what is sealed of a picture."""
    return {"method": row.method, "prompt_id": row.prompt_id, "seed": row.seed}
