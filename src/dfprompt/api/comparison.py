"""`dfprompt compare`: plain and optimised side by side, from the same seeds, scored and written down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.checks import check
from dfprompt.api.companions import companions_of
from dfprompt.api.gallery import choose_folder, slug
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy, read_base, tokenizers_of
from dfprompt.api.scoring import choose_scoreboard
from dfprompt.api.written import Written, plain_of, read_written
from dfprompt.evaluation.contest import (
    Contender,
    Contest,
    Match,
    Shot,
    Standing,
    draw_contests,
    rank,
    relabel,
)
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.report import make_comparison_grid, make_report
from dfprompt.images.recipe import ModelMark
from dfprompt.images.saving import Entry, check_free, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.progress import Report
from dfprompt.policy import Policy, SamplingSettings, TokenBudget
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.picture import draw_plan
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.doors import front_door

REPORT, GRID, RESULT = "report.html", "grid.png", "comparison.json"
WITH = "with"


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """What came out: the match, and the files written."""

    match: Match
    folder: Path
    pictures: Mapping[tuple[int, str, int], Path]
    timelines: Mapping[tuple[int, str], Path]
    grid: Path
    report: Path

    def to_json(self) -> dict[str, Any]:
        """Return output, report, grid, model, settings, seeds, prompts (with rewrites, images, standings)."""
        first = json.loads(self.match.shots[0].recipe.to_json_text())
        prompts = [self._prompt_json(number) for number in range(len(self.match.contests))]
        overall = [_standing_json(each) for each in rank(self.match)] if len(prompts) > 1 else []
        return {
            "output": str(self.folder),
            "report": str(self.report),
            "grid": str(self.grid),
            "model": first["model"],
            "settings": first["settings"],
            "seeds": list(self.match.seeds),
            "scores": self.match.scoreboard.columns(),
            "prompts": prompts,
            "overall": overall,
        }

    def _prompt_json(self, number: int) -> dict[str, Any]:
        contest = self.match.contests[number]
        rewrites = []
        for contender in contest.contenders:
            timeline = self.timelines.get((number, contender.label))
            rewrites.append(
                {
                    "label": contender.label,
                    "df_prompt": str(contender.prompt),
                    "spans": contender.prompt.to_json()["spans"],
                    "timeline": str(timeline) if timeline else None,
                    "images": [self._image_json(shot) for shot in self.match.of(number, contender.label)],
                }
            )
        standings = [_standing_json(each) for each in rank(self.match, number)]
        return {"prompt": contest.plain.text, "rewrites": rewrites, "standings": standings}

    def _image_json(self, shot: Shot) -> dict[str, Any]:
        path = self.pictures[shot.contest, shot.contender.label, shot.seed]
        scores = {name: round(value, 6) for name, value in shot.scored.scores.items()}
        return {"file": str(path), "seed": shot.seed, "scores": scores, "failed": dict(shot.scored.failed)}


def _standing_json(each: Standing) -> dict[str, Any]:
    found = None if each.comparison is None else each.comparison.to_json()
    return {"label": each.label, "score": each.score, "mean": each.mean, "to_plain": found}


@front_door(CompareRequest, "texts", "output")
def compare_prompts(
    request: CompareRequest,
    *,
    sampling: SamplingSettings | None = None,
    number: int | None = None,
    progress: bool | Report = False,
) -> ComparisonRun:
    """Draw plain words and rewrites of them from the same seeds, score the pictures, and write a report.

    `texts` are plain words (`df`: with spans to keep) that the policy rewrites, `candidates` times each;
    `written` are DF-Prompts of the user's own. The pipeline's own policy is the default, where it has one.
    `number` starts the count in file names, for several comparisons in one folder. Raises InputError for
    nothing to compare or files that exist without `force`, and what loading, drawing and scoring raise.

    >>> # run = compare_prompts(["a red house in the snow"], "out", seeds=4)
    >>> # run.report
    """
    check(request)
    bases = [read_base(text, df=request.df) for text in request.texts]
    contests = _gather(bases, read_written(request))
    folder = choose_folder(request.output, next(iter(contests)))
    loaded = open_pipeline(request)
    companions, seeds = companions_of(loaded), request.numbers
    chosen_policy = companions.policy if request.policy is None else request.policy
    if chosen_policy is not None and bases:
        writer = chosen_policy
        if not isinstance(writer, Policy):
            writer = load_policy(writer, device=request.device, companions=companions)
        _add_rewrites(contests, bases, writer, request, sampling, loaded)
    listed = [Contest(PlainPrompt(text), relabel(rewrites)) for text, rewrites in contests.items()]
    paths = _Paths(folder, listed, seeds, number)
    check_free(paths.every(), force=request.force)
    board = choose_scoreboard(request, companions)
    match = draw_contests(
        loaded,
        listed,
        seeds,
        board,
        request.settings,
        negative_prompt=request.negative_prompt,
        progress=progress,
    )
    return _write(match, paths, note=companions.note, metadata=request.metadata, force=request.force)


def _gather(bases: Sequence[DFPrompt], written: Sequence[Written]) -> dict[str, list[Contender]]:
    """Return the plain texts, in order, with what was written for each."""
    contests: dict[str, list[Contender]] = {base.plain_text: [] for base in bases}
    texts = list(contests)
    for each in written:
        contests.setdefault(plain_of(each, texts), []).append(Contender(WITH, each.prompt))
    return contests


def _add_rewrites(
    contests: dict[str, list[Contender]],
    bases: Sequence[DFPrompt],
    policy: Policy,
    request: CompareRequest,
    sampling: SamplingSettings | None,
    pipeline: ImagePipeline,
) -> None:
    candidates, seed = request.candidates, request.numbers[0]
    steps = pipeline.resolve(request.settings).num_inference_steps
    acting = policy.model.config.tables.acting(steps)
    sampling = budgeted(sampling, policy, pipeline)
    mark = ModelMark(name=policy.name, hash=policy.digest or None)
    label = "policy" if policy.name in ("", "policy") else f"policy {policy.name}"
    for base, rewrites in zip(
        bases, policy.candidates(bases, candidates, seed, sampling, acting=acting), strict=True
    ):
        contests[base.plain_text] += [Contender(label, rewrite.prompt, mark) for rewrite in rewrites]


def budgeted(sampling: SamplingSettings | None, policy: Policy, pipeline: ImagePipeline) -> SamplingSettings:
    """Return how to draw rewrites whose tokens the pipeline's own tokenizers count."""
    chosen = sampling or SamplingSettings()
    if chosen.budget is not None:
        return chosen
    counting = tokenizers_of(pipeline) or tuple(policy.budget.tokenizers)
    return dataclasses.replace(chosen, budget=TokenBudget(policy.budget.limit, counting))


class _Paths:
    """The names of everything a comparison writes."""

    def __init__(
        self, folder: Path, contests: Sequence[Contest], seeds: Sequence[int], number: int | None
    ) -> None:
        self.folder = folder
        prefix = "" if number is None else f"{number:03d}-"
        self.grid, self.report, self.result = (folder / f"{prefix}{name}" for name in (GRID, REPORT, RESULT))
        self.pictures: dict[tuple[int, str, int], Path] = {}
        self.timelines: dict[tuple[int, str], Path] = {}
        for index, contest in enumerate(contests):
            stem = f"{index + (number or 1):03d}-{slug(contest.plain.text)}"
            for contender in contest.contenders:
                name = f"{stem}-{slug(contender.label)}"
                if contender.label != PLAIN:
                    self.timelines[index, contender.label] = folder / f"{name}.svg"
                for seed in seeds:
                    self.pictures[index, contender.label, seed] = folder / f"{name}-seed{seed}.png"

    def every(self) -> list[Path]:
        """Return all of them."""
        return [*self.pictures.values(), *self.timelines.values(), self.grid, self.report, self.result]


def _write(match: Match, paths: _Paths, *, note: str, metadata: bool, force: bool) -> ComparisonRun:
    entries = [
        Entry(
            paths.pictures[shot.contest, shot.contender.label, shot.seed],
            to_pil(shot.image[None])[0],
            shot.recipe if metadata else None,
        )
        for shot in match.shots
    ]
    save_pictures([*entries, Entry(paths.grid, make_comparison_grid(match))], force=force)
    for (index, label), path in paths.timelines.items():
        contender = next(each for each in match.contests[index].contenders if each.label == label)
        write_text(path, draw_plan(match.plan_of(contender.prompt)))
    names = {key: path.name for key, path in paths.pictures.items()}
    write_text(paths.report, make_report(match, names, note=note))
    run = ComparisonRun(match, paths.folder, paths.pictures, paths.timelines, paths.grid, paths.report)
    write_text(paths.result, json.dumps({"dfprompt": 1, **run.to_json()}, indent=1) + "\n")
    return run
