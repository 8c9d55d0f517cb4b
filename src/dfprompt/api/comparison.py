"""`dfprompt compare`: plain and optimised side by side, from the same seeds, scored and written down."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dfprompt.api.checks import check
from dfprompt.api.companions import companions_of, writer_of
from dfprompt.api.gallery import choose_folder, slug
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy, read_base, tokenizers_of
from dfprompt.api.risk import Gate, gate_rewrites, open_gate
from dfprompt.api.scoring import choose_scoreboard
from dfprompt.api.workers import drawing_elsewhere, workers_for
from dfprompt.api.written import Written, plain_of, read_written
from dfprompt.errors import InputError
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.report import make_comparison_grid, make_report
from dfprompt.evaluation.side_by_side import (
    Compared,
    Rewrite,
    SideBySide,
    check_distinct,
    draw_side_by_side,
    relabel,
)
from dfprompt.evaluation.summary import ScoreLine
from dfprompt.evaluation.variations import knows_weights, vary
from dfprompt.images.metadata import ModelMark
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import Row
from dfprompt.measurement.shots import HowToDraw
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.progress import Report
from dfprompt.policy import Policy, SamplingSettings, TokenBudget
from dfprompt.policy import Rewrite as Proposed
from dfprompt.policy.tastes import parse_taste
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.picture import draw_plan
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.doors import front_door
from dfprompt.storage import check_free, lock_folder, remove

REPORT, GRID, RESULT = "report.html", "grid.png", "comparison.json"
WITH = "with"


@dataclass(frozen=True, eq=False)
class ComparisonRun:
    """What came out: the prompts side by side, and the files written."""

    shown: SideBySide
    timelines: Mapping[tuple[str, str], Path]
    grid: Path
    report: Path
    gate: Gate | None = None

    @property
    def folder(self) -> Path:
        """Where everything lies."""
        return self.shown.folder

    @property
    def pictures(self) -> list[Path]:
        """The pictures' files."""
        return list(dict.fromkeys(self.folder / str(row.picture) for row in self.shown.rows))

    def to_json(self) -> dict[str, Any]:
        """Return output, report, grid, model, settings, seeds, prompts (with rewrites, images, standings)."""
        shown = self.shown
        prompts = [self._prompt_json(prompt) for prompt in shown.prompts]
        overall = [_line_json(line) for line in shown.lines()] if len(prompts) > 1 else []
        settings = shown.settings.model_dump(mode="json", exclude={"batch_size"}, exclude_none=True)
        return {
            "output": str(self.folder),
            "report": str(self.report),
            "grid": str(self.grid),
            "model": shown.pipeline.mark.model_dump(mode="json", exclude_none=True),
            "settings": {**settings, "dtype": str(shown.pipeline.dtype).removeprefix("torch.")},
            "seeds": list(shown.seeds),
            "scores": shown.columns,
            "prompts": prompts,
            "overall": overall,
            **({} if self.gate is None else {"risk": self.gate.to_json()}),
        }

    def _prompt_json(self, prompt: Compared) -> dict[str, Any]:
        rewrites = []
        for each in prompt.all:
            timeline = self.timelines.get((prompt.plain.id, each.label))
            same = self.shown.same_as(prompt, each)
            rewrites.append(
                {
                    "label": each.label,
                    "df_prompt": str(each.prompt),
                    "spans": each.prompt.to_json()["spans"],
                    "timeline": str(timeline) if timeline else None,
                    "unchanged": each.unchanged or None,
                    "same_as": same,
                    "images": [self._image_json(row) for row in self.shown.of(prompt, each.label)],
                }
            )
        standings = [_line_json(line) for line in self.shown.lines(prompt)]
        return {"prompt": prompt.plain.text, "rewrites": rewrites, "standings": standings}

    def _image_json(self, row: Row) -> dict[str, Any]:
        scores = {name: round(value, 6) for name, value in row.scores.items()}
        file = str(self.folder / str(row.picture))
        return {"file": file, "seed": row.seed, "scores": scores, "failed": dict(row.failed)}


def _line_json(line: ScoreLine) -> dict[str, Any]:
    found = None if line.comparison is None else line.comparison.to_json()
    return {"label": line.method, "score": line.score, "mean": line.mean, "to_plain": found}


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
    `written` are DF-Prompts of the user's own, `vary` words to draw all the time, early, late, and late and
    gently. The pipeline's own policy is the default, but for `vary`.
    `number` starts the count in file names, for several comparisons in one folder. `resume` goes on with what
    the folder holds, `force` draws it anew. Raises InputError for nothing to compare, a prompt beside itself,
    or files that exist without either, and what loading, drawing and scoring raise.

    >>> # run = compare_prompts(["a red house in the snow"], "out", seeds=4)
    >>> # run.report
    """
    check(request)
    bases = [read_base(text, df=request.df) for text in request.texts]
    prompts = _gather(bases, read_written(request))
    folder = choose_folder(request.output, next(iter(prompts)))
    with workers_for(request) as workers:
        here = drawing_elsewhere(request, workers)
        loaded = open_pipeline(here)
        companions, seeds = companions_of(loaded), request.numbers
        _add_variations(prompts, bases, request, loaded)
        chosen_policy = writer_of(request, companions)
        board = choose_scoreboard(here, companions)
        how = HowToDraw(
            request.settings, request.negative_prompt, metadata=request.metadata, progress=progress
        )
        gate = None
        if chosen_policy is not None and bases:
            writer = chosen_policy
            if not isinstance(writer, Policy):
                writer = load_policy(writer, device=request.device, companions=companions)
            found = _rewrites(bases, writer, request, sampling, loaded)
            if request.max_risk is not None:
                asked = sampling or _asked(request)
                gate = open_gate(writer, request.max_risk, board, asked)
                found, gate = gate_rewrites(gate, bases, found, loaded, board, how, seeds[0])
            _add_rewrites(prompts, bases, writer, found)
        listed = [Compared(PlainPrompt(text), relabel(rewrites)) for text, rewrites in prompts.items()]
        check_distinct(listed, seeds)
        paths = _Paths(folder, listed, seeds, number)
        paths.check_free(force=request.force, resume=request.resume)
        with lock_folder(folder):
            if request.force and not request.resume:
                paths.begin_anew()
            shown = draw_side_by_side(
                loaded,
                listed,
                seeds,
                board,
                how,
                paths.log,
                paths.picture,
                resume=request.resume,
                elsewhere=workers,
            )
            return _write(shown, paths, gate, note=companions.note)


def _gather(bases: Sequence[DFPrompt], written: Sequence[Written]) -> dict[str, list[Rewrite]]:
    """Return the plain texts, in order, with what was written for each."""
    prompts: dict[str, list[Rewrite]] = {base.plain_text: [] for base in bases}
    texts = list(prompts)
    for each in written:
        prompts.setdefault(plain_of(each, texts), []).append(Rewrite(WITH, each.prompt))
    return prompts


def _add_variations(
    prompts: dict[str, list[Rewrite]],
    bases: Sequence[DFPrompt],
    request: CompareRequest,
    pipeline: ImagePipeline,
) -> None:
    weights = knows_weights(pipeline.pipe)
    for words in request.vary:
        prefix = f"{words.strip()} " if len(request.vary) > 1 else ""
        for base in bases:
            varied = vary(base, words, weights=weights)
            prompts[base.plain_text] += [replace(each, label=prefix + each.label) for each in varied]


def _rewrites(
    bases: Sequence[DFPrompt],
    policy: Policy,
    request: CompareRequest,
    sampling: SamplingSettings | None,
    pipeline: ImagePipeline,
) -> list[list[Proposed]]:
    steps = pipeline.resolve(request.settings).num_inference_steps
    acting = policy.model.config.tables.acting(steps)
    asked = sampling or _asked(request)
    sampling = budgeted(asked, policy, pipeline)
    return policy.candidates(bases, request.candidates, request.numbers[0], sampling, acting=acting)


def _asked(request: CompareRequest) -> SamplingSettings:
    taste = parse_taste(request.taste) if request.taste else ()
    return SamplingSettings(min_modifiers=request.at_least, taste=taste)


def _add_rewrites(
    prompts: dict[str, list[Rewrite]],
    bases: Sequence[DFPrompt],
    policy: Policy,
    found: Sequence[Sequence[Proposed]],
) -> None:
    mark = ModelMark(name=policy.name, hash=policy.digest or None)
    label = "policy" if policy.name in ("", "policy") else f"policy {policy.name}"
    for base, rewrites in zip(bases, found, strict=True):
        prompts[base.plain_text] += [
            Rewrite(label, rewrite.prompt, mark, rewrite.unchanged) for rewrite in rewrites
        ]


def budgeted(sampling: SamplingSettings | None, policy: Policy, pipeline: ImagePipeline) -> SamplingSettings:
    """Return how to draw rewrites whose tokens the pipeline's own tokenizers count."""
    chosen = sampling or SamplingSettings()
    if chosen.budget is not None:
        return chosen
    counting = tokenizers_of(pipeline) or tuple(policy.budget.tokenizers)
    return replace(chosen, budget=TokenBudget(policy.budget.limit, counting))


class _Paths:
    """The names of everything a comparison writes."""

    def __init__(
        self, folder: Path, prompts: Sequence[Compared], seeds: Sequence[int], number: int | None
    ) -> None:
        self._folder, self._prompts, self._seeds = folder, prompts, seeds
        prefix = "" if number is None else f"{number:03d}-"
        files = (folder / f"{prefix}{name}" for name in (GRID, REPORT, RESULT, ROWS))
        self.grid, self.report, self.result, self.log = files
        self._stems = {
            prompt.plain.id: f"{index + (number or 1):03d}-{slug(prompt.plain.text)}"
            for index, prompt in enumerate(prompts)
        }

    def picture(self, prompt: Compared, label: str, seed: int) -> str:
        """Return a picture's name in the folder."""
        return f"{self._stems[prompt.plain.id]}-{slug(label)}-seed{seed}.png"

    def timelines(self) -> dict[tuple[str, str], Path]:
        """Return the drawings of when words act, by prompt id and label."""
        return {
            (prompt.plain.id, each.label): self._folder
            / f"{self._stems[prompt.plain.id]}-{slug(each.label)}.svg"
            for prompt in self._prompts
            for each in prompt.rewrites
        }

    def check_free(self, *, force: bool, resume: bool) -> None:
        """Raise InputError for what is there already; `resume` needs the log."""
        if resume and not self.log.exists() and self.result.exists():
            raise InputError(
                f"{self.log.parent} holds a comparison without {self.log.name}, of an earlier version, which "
                "cannot go on; choose another --output, or add --force to draw it again"
            )
        if self.log.exists() and not force and not resume:
            raise InputError(
                f"{self.log} exists already; add --resume to go on with it or --force to draw it again, or "
                "choose another --output"
            )
        pictures = (
            self._folder / self.picture(prompt, each.label, seed)
            for prompt in self._prompts
            for each in prompt.all
            for seed in self._seeds
        )
        files = [*pictures, *self.timelines().values(), self.grid, self.report, self.result]
        check_free(files, force=force or resume)

    def begin_anew(self) -> None:
        """Remove what a comparison says: one killed later leaves no report of other pictures."""
        for each in (self.result, self.report, self.log):
            remove(each)


def _write(shown: SideBySide, paths: _Paths, gate: Gate | None, *, note: str) -> ComparisonRun:
    save_pictures([Entry(paths.grid, make_comparison_grid(shown), is_grid=True)], force=True)
    timelines = paths.timelines()
    for prompt in shown.prompts:
        for each in prompt.rewrites:
            write_text(timelines[prompt.plain.id, each.label], draw_plan(shown.plan_of(each.prompt)))
    write_text(paths.report, make_report(shown, note=note))
    run = ComparisonRun(shown, timelines, paths.grid, paths.report, gate)
    write_text(paths.result, json.dumps({"dfprompt": 1, **run.to_json()}, indent=1) + "\n")
    return run
