"""`dfprompt tune`: the best words, ranges and weights for one prompt on one pipeline, by reward."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dfprompt.api.checks import check
from dfprompt.api.companions import choose_lexicon, companions_of
from dfprompt.api.comparison import budgeted
from dfprompt.api.gallery import choose_folder
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.api.scoring import choose_scoreboard
from dfprompt.api.workers import drawing_elsewhere, workers_for
from dfprompt.errors import ConfigError, InputError
from dfprompt.evaluation.files import write_text
from dfprompt.images.grid import make_grid
from dfprompt.images.reading import read_rgb
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.measurement.log import ROWS, MeasurementLog
from dfprompt.measurement.measure import Measurement, fingerprint
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rescoring import check_scores
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import AT_ONCE, HowToDraw
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.reading import read_prompt
from dfprompt.requests.compare import TuneRequest
from dfprompt.requests.doors import front_door
from dfprompt.requests.render import RenderSettings
from dfprompt.search.budget import Budget
from dfprompt.search.budgeted_scores import Report
from dfprompt.search.candidates import ModifierSpace, Proposal, Space, SpanSpace
from dfprompt.search.engine import Outcome, search
from dfprompt.search.findings import (
    BestOf,
    ScoreLine,
    Share,
    Tried,
    attribute,
    best_of_plain,
    compare_on_fresh,
    list_tried,
)
from dfprompt.search.keeping import keep_in
from dfprompt.search.lexicon import Lexicon
from dfprompt.search.pictures import FIRST_ROUND, PICTURES, SearchedPictures
from dfprompt.storage import check_ours, lock_folder

GRID, RESULT = "grid.png", "tune.json"
_JOURNAL = "search.jsonl"  # the record of earlier versions
NOTHING = "nothing beat plain"
_GRID_COLUMNS, _GRID_PICTURES = 8, 96


@dataclass(frozen=True, eq=False)
class TuneRun:
    """What came out of a search, and the files written."""

    plain: DFPrompt
    outcome: Outcome
    scores: tuple[ScoreLine, ...]
    best_of: BestOf | None
    shares: tuple[Share, ...]
    tried: tuple[Tried, ...]
    reward: str
    lexicon: str
    pictures: SearchedPictures
    drawn: int
    folder: Path
    grid: Path

    @property
    def df_prompt(self) -> DFPrompt | None:
        """The DF-Prompt that beats plain; None where nothing did."""
        return None if self.outcome.winner is None else self.outcome.winner.prompt

    def sentence(self) -> str:
        """Return in plain words whether it helped, by how much, what it cost, and what would give more."""
        outcome, found = self.outcome, self.outcome.evidence
        cost = f"{outcome.ledger.spent} pictures"
        if found is None:
            return f"Nothing was confirmed, for {cost}: {outcome.reason}."
        said = f"{found.difference:+.3g} in {self.reward} on {found.pairs} fresh seeds"
        if found.bounded:
            said += f" (95 %: {found.interval.low:+.3g} to {found.interval.high:+.3g})"
        words = [("It helped" if outcome.winner else "No clear help") + f": {said}, for {cost}"]
        if fell := [line.score for line in self.scores[1:] if line.evidence.difference < 0]:
            words.append(f"{', '.join(fell)} fell")
        best = self.best_of
        if best is not None and best.plain > best.finalist_mean:
            words.append(
                f"drawing plain {best.n} times and keeping the best would have given more "
                f"({best.plain:.3g} against {best.finalist_mean:.3g})"
            )
        return "; ".join(words) + "."

    def to_json(self) -> dict[str, Any]:
        """Return the answer, its numbers and where everything lies; see docs/tune.md for the keys."""
        outcome, winner, finalist = self.outcome, self.df_prompt, self.outcome.finalist
        return {
            "output": str(self.folder),
            "prompt": str(self.plain),
            "df_prompt": None if winner is None else str(winner),
            "spans": None if winner is None else winner.to_json()["spans"],
            "answer": NOTHING if winner is None else "beats plain",
            "reason": outcome.reason,
            "finalist": None if finalist is None else str(finalist.prompt),
            "origin": None if finalist is None else finalist.origin,
            "reward": self.reward,
            "evidence": None if outcome.evidence is None else outcome.evidence.to_json(),
            "scores": [line.to_json() for line in self.scores],
            "best_of_n": None if self.best_of is None else self.best_of.to_json(),
            "attribution": [share.to_json() for share in self.shares],
            "candidates": [each.to_json() for each in self.tried],
            "images": {
                "budget": outcome.ledger.budget,
                "measured": outcome.ledger.spent,
                "search": outcome.searched,
                "best_of_n": outcome.ledger.spent - outcome.searched,
                "drawn_now": self.drawn,
                "fresh_pairs": len(outcome.fresh_seeds),
            },
            "evaluations": _sharing(self.pictures),
            "modifiers": self.lexicon,
            "seconds": round(self.pictures.elapsed(), 2),
            "grid": str(self.grid),
            "journal": str(self.pictures.measurement.log.path),
        }


@front_door(TuneRequest, "text", "output")
def tune_prompt(request: TuneRequest, *, progress: Report | None = None) -> TuneRun:
    """Search modifiers, ranges and weights for one prompt by reward, and make sure on fresh seeds.

    `text` are plain words (`df`: with spans to keep; `only` then tunes the span with these words alone).
    `images` counts every picture, about half of them for making sure; `minutes` of drawing and scoring may
    end it sooner. A `policy` (as `load_policy` takes it) puts up to `candidates` rewrites of its own, each
    with the controls it drew, among what is tried first. `best_of_n` compares with the best of as many plain
    pictures as the search measured: True keeps images for that, None does it where enough are left. The
    first reward is searched by, the other scores are only shown. `resume` goes on with what the folder
    holds. Raises InputError, ConfigError or LoadError for what cannot be, RewardError and GenerationError
    with every picture kept.

    >>> # run = tune_prompt("a red house in the snow", "out", pipeline="models/sd15")
    >>> # print(run.df_prompt or "nothing beat plain")
    """
    check(request)
    budget = Budget(request.images, request.minutes, request.best_of_n)
    base = read_prompt(request.text) if request.df else DFPrompt.from_plain(request.text)
    folder = choose_folder(request.output, base.plain_text)
    with workers_for(request) as workers:
        here = drawing_elsewhere(request, workers)
        loaded = open_pipeline(here)
        companions, settings, seed, only = companions_of(loaded), request.settings, request.seed, request.only
        lexicon = choose_lexicon(request.modifiers, companions)
        board = choose_scoreboard(here, companions)
        reward = _reward_of(board)
        proposals: list[Proposal] = []
        if request.policy is not None:
            writer = request.policy
            if not isinstance(writer, Policy):
                writer = load_policy(writer, device=request.device, companions=companions)
            proposals = propose_rewrites(writer, base, request.candidates, seed, loaded, settings)
        space: Space = (
            ModifierSpace(base, lexicon, seed, proposals) if only is None else SpanSpace(base, only)
        )
        space = keep_in(space, request.keep)
        asked: dict[str, Any] = {
            "images": request.images,
            "minutes": request.minutes,
            "seed": seed,
            "only": only,
            **({"keep": list(request.keep)} if request.keep else {}),
        }
        asked |= {"best-of-n": request.best_of_n, "proposals": [_show(each) for each in proposals]}
        _check_folder(folder)
        how = HowToDraw(settings, request.negative_prompt, metadata=request.metadata)
        told = {**fingerprint(loaded, board, how), **_asked_of(space, lexicon), **asked}
        with (
            lock_folder(folder),
            MeasurementLog(folder / ROWS, told, kind="search", resume=request.resume) as log,
        ):
            check_scores(folder, log.rows, [PlainPrompt(space.plain.plain_text)], board)
            measurement = Measurement(
                loaded,
                board,
                log,
                how,
                isolated=False,
                save_first=True,
                needed=reward,
                elsewhere=workers,
                at_once=AT_ONCE if workers is None else 1,
            )
            pictures = SearchedPictures(measurement, space.plain, reward)
            report = _staged(pictures, progress)
            outcome = search(space, pictures, budget, seed=seed, elapsed=pictures.elapsed, report=report)
            return _write(outcome, space, board, pictures, lexicon if only is None else None, folder)


def _check_folder(folder: Path) -> None:
    """Raise InputError for a folder that holds a search nothing can go on with."""
    if (folder / ROWS).exists():
        return
    if (folder / _JOURNAL).exists():
        raise InputError(
            f"{folder / _JOURNAL} holds a search of an earlier version, which cannot go on; take another "
            "--output"
        )
    # Pictures are known by words and seed: without the log nothing says what else they were drawn with.
    if any((folder / PICTURES).glob("*.png")):
        raise InputError(
            f"{folder / PICTURES} holds pictures of a search whose {ROWS} is gone; take another --output"
        )
    check_ours(folder, (GRID, RESULT), ROWS)


def propose_rewrites(
    policy: Policy,
    base: DFPrompt,
    candidates: int,
    seed: int,
    pipeline: ImagePipeline,
    settings: RenderSettings | None = None,
) -> list[Proposal]:
    """Return a policy's different rewrites of a prompt, the likeliest first; only what adds something."""
    acting = policy.model.config.tables.acting(pipeline.resolve(settings).num_inference_steps)
    sampling = budgeted(None, policy, pipeline)
    (rewrites,) = policy.candidates([base], candidates, seed, sampling, acting=acting)
    origin = "policy" if policy.name in ("", "policy") else f"policy {policy.name}"
    return [Proposal(each.modifiers, origin) for each in rewrites if each.modifiers]


def _show(proposal: Proposal) -> str:
    return f"{proposal.origin}: {' '.join(map(str, proposal.spans))}"


def _reward_of(board: Scoreboard) -> str:
    try:
        return board.chooser
    except ConfigError as error:
        raise InputError(
            "a search needs a reward to search by: name one with --reward, such as clip or a folder"
        ) from error


def _asked_of(space: Space, lexicon: Lexicon) -> dict[str, Any]:
    """Return what is searched among."""
    words = "\n".join(f"{entry.category} {entry.span}" for entry in lexicon.entries)
    return {
        "prompt": str(space.plain),
        "first": str(space.first(1)[0].prompt),
        "modifiers": hashlib.sha256(words.encode("utf-8", "surrogatepass")).hexdigest()[:12],
    }


def _staged(pictures: SearchedPictures, progress: Report | None) -> Report:
    def report(stage: str, done: int, total: int) -> None:
        pictures.stage = stage
        if progress is not None:
            progress(stage, done, total)

    return report


def _sharing(pictures: SearchedPictures) -> dict[str, Any]:
    """Return denoiser evaluations done and spared, in all and in the first round."""
    costs, first = pictures.costs(), pictures.costs(FIRST_ROUND)
    return {
        **costs.to_json(),
        "saved_share": round(costs.spared_share, 4),
        "first_round": first.to_json(),
        "saved_share_first_round": round(first.spared_share, 4),
    }


def _write(
    outcome: Outcome,
    space: Space,
    board: Scoreboard,
    pictures: SearchedPictures,
    lexicon: Lexicon | None,
    folder: Path,
) -> TuneRun:
    grid, scores = folder / GRID, pictures.scores()
    save_pictures([Entry(grid, _draw_grid(outcome, pictures), is_grid=True)], force=True)
    run = TuneRun(
        plain=space.plain,
        outcome=outcome,
        scores=tuple(compare_on_fresh(outcome, scores, board.columns())),
        best_of=best_of_plain(outcome, scores, board.columns()),
        shares=tuple(attribute(outcome, space)),
        tried=tuple(list_tried(outcome)),
        reward=pictures.reward,
        lexicon="one span" if lexicon is None else f"{lexicon.name}, {len(lexicon.entries)} modifiers",
        pictures=pictures,
        drawn=pictures.measurement.drawn,
        folder=folder,
        grid=grid,
    )
    write_text(folder / RESULT, json.dumps({"dfprompt": 1, **run.to_json()}, indent=1) + "\n")
    return run


def _draw_grid(outcome: Outcome, measured: SearchedPictures) -> Image.Image:
    """All pictures in the order they were measured, by stage; plain and spans below, with the reward."""
    pictures: list[Image.Image] = []
    captions: list[str] = []
    for each in outcome.rounds:
        for pair in each.pairs[: _GRID_PICTURES - len(pictures)]:
            pictures.append(read_rgb(measured.path_of(pair)))
            score = outcome.ledger.scores[pair]
            said = "plain" if pair[0] == outcome.ledger.plain else ", ".join(map(str, pair[0].controls))
            shown = "failed" if score is None else f"{score:.4g}"
            captions.append(f"{each.stage}: {said or pair[0]} · seed {pair[1]} · {shown}")
    columns = min(_GRID_COLUMNS, len(pictures))
    return make_grid(pictures, captions, columns=columns, title=str(outcome.ledger.plain), cell=128)
