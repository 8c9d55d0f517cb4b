"""`dfprompt taste`: a person's own reward, from 20 to 50 choices between two pictures."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dfprompt.api.companions import companions_of
from dfprompt.api.evaluation import evaluate
from dfprompt.api.learning import find_logs
from dfprompt.api.rewards import load_reward, score_images
from dfprompt.errors import InputError
from dfprompt.evaluation.judge_check import Pair, read_pairs
from dfprompt.evaluation.pages import render_page, thumbnail
from dfprompt.images.reading import check_pictures, read_image
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.log import read_rows
from dfprompt.published import USUAL_SCORES
from dfprompt.requests.doors import front_door
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.taste import TasteRequest
from dfprompt.rewards.taste import TASTE_FILE, Taste, TasteScore, TasteTerms, Term, refuse_taste
from dfprompt.statistics.choices import Weights, fit_choices
from dfprompt.statistics.intervals import Array
from dfprompt.storage import LineFile, check_ours, lock_folder, reported, write_text

CHOICES, PAGE, PICTURES = "choices.jsonl", "pair.html", "pictures"
SPREAD = 1.0  # how far a person's weights lie from the crowd's, in logits per usual difference of a term
_WIDTH = 1.96
_MOST_OF_A_PROMPT, _MOST = 40, 600  # pairs looked at for the next question
_CHOSEN = {"a": 1.0, "b": 0.0, "tie": 0.5}

Choose: TypeAlias = Callable[[Pair, Path, int], str | None]
"""Shows a pair (also a page of it; how many choices there are) and says a, b, tie, or None to stop."""


@dataclass(frozen=True, eq=False)
class TasteRun:
    """The taste, where it lies, and how many choices were made now."""

    taste: Taste
    folder: Path
    asked: int

    def sentences(self) -> list[str]:
        """Say in plain words what was learnt, what counts most, and whether it beats the crowd."""
        taste = self.taste
        said = [f"{taste.choices} choices ({taste.ties} ties): {self.folder / TASTE_FILE}"]
        if taste.agrees is not None and taste.crowd_agrees is not None:
            said.append(
                f"foretells {100 * taste.agrees:.0f} % of them, each by the others; the crowd "
                f"{100 * taste.crowd_agrees:.0f} %"
            )
        return said

    def to_json(self) -> dict[str, Any]:
        """Return folder, file, how many were asked now, and everything in the file."""
        place = {"output": str(self.folder), "file": str(self.folder / TASTE_FILE), "asked": self.asked}
        return {**place, "taste": self.taste.model_dump(mode="json")}


@front_door(TasteRequest, "output")
def learn_taste(request: TasteRequest, *, choose: Choose | None = None) -> TasteRun:
    """Learn what a person likes from choices between two pictures of one prompt.

    `choose` is asked about pairs of the folders in `pictures`, or of pictures drawn of `prompts`, until
    there are `count` choices or it returns None; each is on the disk before the next, and the pair that
    would tell most comes next. Terms are those of the scores (by default the pipeline's own, else CLIP and
    aesthetic) and five looks; weights are shrunk to the crowd's: the first score. Raises InputError for no
    choices and for pictures that cannot be read, ConfigError and LoadError for scores.

    >>> # run = learn_taste("my-taste", choices="choices.jsonl")
    >>> # dfprompt.tune_prompt("a red cat", pipeline="models/sd15", rewards=["taste:my-taste"])
    """
    folder = Path(request.output)
    check_ours(folder, (CHOICES, PAGE, TASTE_FILE), CHOICES)
    names = _rewards(request)
    options: dict[str, Any] = {"device": request.device, "dtype": request.dtype}
    options |= {"allow_code": request.allow_code, "assignments": request.assignments}
    terms = TasteTerms([load_reward(name, **options) for name in names])
    before = [pair for file in request.choices for pair in read_pairs(file)]
    with reported(folder, InputError), lock_folder(folder), LineFile(folder / CHOICES) as kept:
        before += read_pairs(kept.path, all_ties=True)
        table = _Table(terms)
        table.measure([(file, pair) for pair in before for file in (pair.a, pair.b)])
        made: list[Pair] = []
        if choose is not None and len(before) < request.count:
            pool = _pool(request, folder)
            table.measure([(file, pair) for pair in pool for file in (pair.a, pair.b)])
            made = _ask(pool, before, table, kept, request, choose)
        taste = _fit([*before, *made], table, names)
        taste.save(folder / TASTE_FILE)
    return TasteRun(taste, folder, len(made))


class _Table:
    """The terms of every picture, measured once."""

    def __init__(self, terms: TasteTerms) -> None:
        self.score = TasteScore(terms, terms.crowd)
        self.rows: dict[Path, dict[str, float]] = {}

    def measure(self, pictures: Sequence[tuple[Path, Pair]]) -> None:
        new = {file: pair for file, pair in pictures if file not in self.rows}
        if not new:
            return
        check_pictures(new)
        pairs = list(new.values())
        prompts, records = [pair.prompt for pair in pairs], [pair.record for pair in pairs]
        columns = score_images(list(new), prompts, self.score, records=records)
        del columns[self.score.name]
        for row, file in enumerate(new):
            self.rows[file] = {name: float(values[row]) for name, values in columns.items()}

    def differences(self, pairs: Sequence[Pair]) -> Array:
        names = self.names
        return np.array(
            [[self.rows[pair.a][name] - self.rows[pair.b][name] for name in names] for pair in pairs]
        ).reshape(len(pairs), len(names))

    @property
    def names(self) -> list[str]:
        return list(next(iter(self.rows.values()), ()))

    @property
    def crowd(self) -> Array:
        return np.array([self.score.weights.get(name, 0.0) for name in self.names])


@dataclass(frozen=True)
class Scale:
    """The usual difference of each term (D,) in pairs, and the crowd's weights (D,) per such difference."""

    usual: Array
    crowd: Array

    @classmethod
    def of(cls, differences: Array, crowd: Array) -> Scale:
        """Return it for pairs (N, D): the crowd's reward has logit 1 at its own usual difference."""
        usual = np.sqrt((differences**2).mean(0)) if len(differences) else np.zeros(len(crowd))
        overall = float(np.sqrt(((differences @ crowd) ** 2).mean())) if len(differences) else 0.0
        usual[usual <= 1e-9] = 1.0  # never seen to differ: the crowd's weight stays
        return cls(usual, crowd * usual / (overall if overall > 1e-9 else 1.0))

    def fit(self, differences: Array, chosen: Sequence[float]) -> Weights:
        """Return the weights per usual difference, shrunk to the crowd's."""
        return fit_choices(differences / self.usual, chosen, self.crowd, SPREAD)


def _fit(pairs: Sequence[Pair], table: _Table, names: Sequence[str]) -> Taste:
    if not any(pair.choice != "tie" for pair in pairs):
        raise InputError("nobody chose yet: a taste needs choices, 20 to 50 of them")
    differences, chosen = table.differences(pairs), [_CHOSEN[pair.choice] for pair in pairs]
    scale = Scale.of(differences, table.crowd)
    found = scale.fit(differences, chosen)
    half = _WIDTH * np.sqrt(np.diag(found.covariance))
    terms = [
        Term(
            name=name,
            weight=mean / usual,
            low=(mean - wide) / usual,
            high=(mean + wide) / usual,
            crowd=c / usual,
        )
        for name, mean, wide, usual, c in zip(
            table.names, found.mean, half, scale.usual, scale.crowd, strict=True
        )
    ]
    agrees, crowd = foretold(differences, chosen, scale)
    ties = sum(pair.choice == "tie" for pair in pairs)
    return Taste(
        choices=len(pairs),
        ties=ties,
        agrees=agrees,
        crowd_agrees=crowd,
        rewards=tuple(names),
        terms=tuple(terms),
    )


def foretold(differences: Array, chosen: Sequence[float], scale: Scale) -> tuple[float, float]:
    """Return the shares of choices that a taste (learnt from the others) and the crowd foretell."""
    own, crowd = list[float](), list[float]()
    wanted = np.asarray(chosen)
    for row in np.flatnonzero(wanted != 0.5):
        rest = np.arange(len(wanted)) != row
        weights = scale.fit(differences[rest], wanted[rest]).mean
        sign = 2 * wanted[row] - 1
        for kept, by in ((own, weights), (crowd, scale.crowd)):
            kept.append((1 + float(np.sign(sign * differences[row] / scale.usual @ by))) / 2)
    return float(np.mean(own)), float(np.mean(crowd))


def next_pair(differences: Array, asked: Sequence[int], chosen: Sequence[float], crowd: Array) -> int:
    """Return the row of pairs (N, D), none of those `asked`, whose answer would tell most."""
    scale = Scale.of(differences, crowd)
    weights = scale.fit(differences[list(asked)], chosen)
    worth = weights.surprise(differences / scale.usual)
    worth[list(asked)] = -1.0
    return int(worth.argmax())


def _ask(
    pool: Sequence[Pair],
    before: Sequence[Pair],
    table: _Table,
    kept: LineFile,
    request: TasteRequest,
    choose: Choose,
) -> list[Pair]:
    """Ask until there are enough choices; every answer is on the disk before the next question."""
    known = {_both(pair) for pair in before}
    pairs = [*before, *(pair for pair in pool if _both(pair) not in known)]
    differences, chosen = table.differences(pairs), [_CHOSEN[pair.choice] for pair in before]
    asked, made, folder = list(range(len(before))), list[Pair](), kept.path.parent
    while len(asked) < min(request.count, len(pairs)):
        row = next_pair(differences, asked, chosen, table.crowd)
        write_text(folder / PAGE, _page(pairs[row], len(asked), request.count))
        answer = choose(pairs[row], folder / PAGE, len(asked))
        if answer is None:
            break
        made.append(replace(pairs[row], choice=answer))
        kept.append([_line(made[-1], folder)])
        asked.append(row)
        chosen.append(_CHOSEN[answer])
    return made


def _both(pair: Pair) -> frozenset[Path]:
    return frozenset((pair.a.resolve(), pair.b.resolve()))


def _line(pair: Pair, folder: Path) -> str:
    files = {side: os.path.relpath(file, folder) for side, file in (("a", pair.a), ("b", pair.b))}
    return json.dumps(
        {**pair.record, "prompt": pair.prompt, **files, "choice": pair.choice, "prompt_id": pair.prompt_id}
    )


def _page(pair: Pair, number: int, count: int) -> str:
    figures = []
    for side, file in (("1: left", pair.a), ("2: right", pair.b)):
        image, small = thumbnail(to_pil(read_image(file).pixels[None])[0])
        figures.append({"image": image, "small": small, "said": side})
    return render_page("pair.html", prompt=pair.prompt, number=number + 1, count=count, figures=figures)


def _pool(request: TasteRequest, folder: Path) -> list[Pair]:
    """Return pairs of different pictures of one prompt, left and right by chance."""
    folders = list(request.pictures)
    if request.prompts is not None:
        drawn = folder / PICTURES
        evaluate(_drawing(request, drawn))
        folders.append(drawn)
    order = np.random.default_rng(request.seed)
    pool: list[Pair] = []
    for pictures in _pictures(folders):
        both = list(combinations(pictures, 2))
        kept = order.permutation(len(both))[:_MOST_OF_A_PROMPT]
        for index in kept:
            a, b = both[index] if order.random() < 0.5 else both[index][::-1]
            pool.append(Pair(a[1], a[0], b[0], "tie", a[2], None, None, {}))
    if not pool:
        raise InputError("there are no two pictures of one prompt to choose between; name other folders")
    return [pool[index] for index in sorted(order.permutation(len(pool))[:_MOST])]


def _pictures(folders: Sequence[str | Path]) -> Iterator[list[tuple[Path, str, str]]]:
    """Yield the pictures (file, prompt, its id) of each prompt; of one text and noise only one."""
    for log in find_logs(folders):
        found: dict[str, dict[tuple[str | None, int | None], tuple[Path, str, str]]] = {}
        for row in read_rows(log):
            if row.picture is not None and (log.parent / row.picture).is_file():
                kept = found.setdefault(row.prompt_id, {})
                kept.setdefault(
                    (row.df_prompt, row.noise), (log.parent / row.picture, row.prompt, row.prompt_id)
                )
        yield from (list(each.values()) for each in found.values())


def _drawing(request: TasteRequest, folder: Path) -> EvaluateRequest:
    shared = {
        name: value
        for name, value in request.model_dump(exclude={"output", "choices", "pictures"}).items()
        if name in EvaluateRequest.model_fields
    }
    shared |= {"count": max(request.count // 2, 6), "validation_images": 0, "output": folder}
    return EvaluateRequest(**{**shared, "pipeline": request.pipeline})


def _rewards(request: TasteRequest) -> tuple[str, ...]:
    """Return the names of the scores: a file's name with its whole place, for use from anywhere."""
    given: Sequence[Any] = request.rewards or companions_of(request.pipeline).rewards or USUAL_SCORES
    for each in given:
        if not isinstance(each, str | Path):
            raise InputError("a taste keeps its scores by name; write a function as FILE.py:FUNCTION")
        refuse_taste(str(each))
    return tuple(str(Path(each).resolve()) if Path(each).exists() else str(each) for each in given)
