"""`dfprompt compare`: plain and optimised side by side, from the same seeds, scored and written down."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.gallery import choose_folder, slug
from dfprompt.api.mini_evaluation import NOTE
from dfprompt.api.pipelines import MINI, load_pipeline
from dfprompt.api.policies import load_policy, read_base, tokenizers_of
from dfprompt.api.rewards import RewardLike
from dfprompt.api.scoring import choose_scoreboard
from dfprompt.errors import EvaluationError, InputError
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
from dfprompt.excerpt import quote
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
from dfprompt.prompt.reading import holds_spans, read_prompt
from dfprompt.requests.render import RenderSettings
from dfprompt.storage import lock_folder, remove, reported

REPORT, GRID, RESULT = "report.html", "grid.png", "comparison.json"
WITH = "with"
HOW_TO_GET_A_POLICY = (
    "no policy rewrites prompts for this pipeline: train one (dfprompt train), name one with --policy, write "
    "the DF-Prompt yourself with --with, or search one for this prompt with dfprompt tune"
)


@dataclass(frozen=True)
class Written:
    """A DF-Prompt somebody wrote, and the plain prompt it belongs to, where that was said."""

    prompt: DFPrompt
    plain: str | None = None


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


def compare_prompts(
    texts: Sequence[str] = (),
    output: str | Path | None = None,
    *,
    written: Sequence[Written | DFPrompt | str] = (),
    pipeline: str | Path | ImagePipeline = MINI,
    policy: str | Path | Policy | None = None,
    seeds: Sequence[int] = (0, 1, 2, 3),
    candidates: int = 1,
    sampling: SamplingSettings | None = None,
    df: bool = False,
    rewards: Sequence[RewardLike] = (),
    judges: Sequence[RewardLike] = (),
    settings: RenderSettings | None = None,
    negative_prompt: str | None = None,
    number: int | None = None,
    metadata: bool = True,
    force: bool = False,
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    assignments: Iterable[str] = (),
    progress: bool | Report = False,
) -> ComparisonRun:
    """Draw plain words and rewrites of them from the same seeds, score the pictures, and write a report.

    `texts` are plain words (`df`: with spans to keep) that the policy rewrites, `candidates` times each;
    `written` are DF-Prompts of the user's own. The mini policy is the default with the mini pipeline alone.
    `number` starts the count in file names, for several comparisons in one folder. Raises InputError for
    nothing to compare or files that exist without `force`, and what loading, drawing and scoring raise.

    >>> # run = compare_prompts(["a red house in the snow"], "out")
    >>> # run.report
    """
    bases = [read_base(text, df=df) for text in texts]
    own = [each if isinstance(each, Written) else Written(_as_prompt(each)) for each in written]
    check_comparison(texts, own, pipeline, policy)
    mini = is_mini(pipeline)
    chosen_policy = MINI if policy is None and mini and texts else policy
    contests = _gather(bases, own)
    folder = choose_folder(None if output is None else Path(output), next(iter(contests)))
    loaded = pipeline
    if not isinstance(loaded, ImagePipeline):
        loaded = load_pipeline(loaded, device=device, dtype=dtype)
    if chosen_policy is not None and bases:
        writer = chosen_policy
        if not isinstance(writer, Policy):
            writer = load_policy(writer, device=device, mini=mini)
        _add_rewrites(contests, bases, writer, candidates, seeds[0], sampling, loaded, settings)
    listed = [Contest(PlainPrompt(text), relabel(rewrites)) for text, rewrites in contests.items()]
    paths = _Paths(folder, listed, seeds, number)
    check_free(paths.every(), force=force)
    board = choose_scoreboard(
        mini, rewards, judges, device=device, dtype=dtype, allow_code=allow_code, assignments=assignments
    )
    with lock_folder(folder):
        match = draw_contests(
            loaded, listed, seeds, board, settings, negative_prompt=negative_prompt, progress=progress
        )
        return _write(match, paths, note=NOTE if mini else "", metadata=metadata, force=force)


def is_mini(pipeline: str | Path | ImagePipeline) -> bool:
    """Return whether a pipeline, loaded or by name, draws the mini world."""
    if isinstance(pipeline, ImagePipeline):
        domain = pipeline.origin.domain
        return domain is not None and domain.name == MINI
    return str(pipeline) == MINI


def check_comparison(
    texts: Sequence[str],
    written: Sequence[Written],
    pipeline: str | Path | ImagePipeline,
    policy: str | Path | Policy | None,
) -> None:
    """Raise InputError where there is nothing to compare, before anything is loaded."""
    if not texts and not written:
        raise InputError("nothing to compare: give plain words, or a DF-Prompt to draw with --with")
    if not written and policy is None and not is_mini(pipeline):
        raise InputError(f"nothing to compare with plain: {HOW_TO_GET_A_POLICY}")


def find_spans(text: str) -> bool:
    """Return whether plain words would hold spans, were they read as a DF-Prompt."""
    return holds_spans(text)


def _as_prompt(written: DFPrompt | str) -> DFPrompt:
    return read_prompt(written) if isinstance(written, str) else written


def _gather(bases: Sequence[DFPrompt], written: Sequence[Written]) -> dict[str, list[Contender]]:
    """Return the plain texts, in order, with what was written for each."""
    contests: dict[str, list[Contender]] = {base.plain_text: [] for base in bases}
    texts = list(contests)
    for each in written:
        plain = _plain_of(each, texts)
        contests.setdefault(plain, []).append(Contender(WITH, each.prompt))
    return contests


def _plain_of(written: Written, texts: Sequence[str]) -> str:
    """Return the plain prompt a DF-Prompt is drawn beside: the one named, or its own words without spans."""
    if written.plain is not None:
        return written.plain
    if len(texts) == 1:
        return texts[0]
    if texts:
        fitting = [text for text in texts if written.prompt.plain_text.startswith(text)]
        if not fitting:
            raise InputError(
                f"{quote(str(written.prompt))} begins with none of the prompts, so it is not clear what it "
                "stands beside; begin it with the plain words"
            )
        return max(fitting, key=len)
    left = written.prompt
    while left.controls:
        left = left.without(0)
    plain = left.plain_text.strip()
    if not plain:
        raise InputError(f"{quote(str(written.prompt))} has no plain words; give the plain prompt as TEXT")
    return plain


def _add_rewrites(
    contests: dict[str, list[Contender]],
    bases: Sequence[DFPrompt],
    policy: Policy,
    candidates: int,
    seed: int,
    sampling: SamplingSettings | None,
    pipeline: ImagePipeline,
    settings: RenderSettings | None,
) -> None:
    steps = pipeline.resolve(settings).num_inference_steps
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
    with reported(paths.result, EvaluationError):
        for told in (paths.result, paths.report):  # a command killed here leaves no report of other pictures
            remove(told)
    save_pictures([*entries, Entry(paths.grid, make_comparison_grid(match))], force=force)
    for (index, label), path in paths.timelines.items():
        contender = next(each for each in match.contests[index].contenders if each.label == label)
        write_text(path, draw_plan(match.plan_of(contender.prompt)))
    names = {key: path.name for key, path in paths.pictures.items()}
    write_text(paths.report, make_report(match, names, note=note))
    run = ComparisonRun(match, paths.folder, paths.pictures, paths.timelines, paths.grid, paths.report)
    write_text(paths.result, json.dumps({"dfprompt": 1, **run.to_json()}, indent=1) + "\n")
    return run
