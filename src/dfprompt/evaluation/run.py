"""Running an evaluation: every method on the same prompts and noise, one row per picture, resumable.

Pictures are drawn prompt by prompt, all methods of a prompt and seed together: they start from the same
noise, and the lockstep loop computes once what they have in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dfprompt.errors import ConfigError, DFPromptError, UnsupportedPipelineError
from dfprompt.evaluation.isolation import attempt, each_warning_once
from dfprompt.evaluation.manifest import PICTURES, REWRITES, ROWS, open_manifest
from dfprompt.evaluation.methods import PLAIN, Method, Plain
from dfprompt.evaluation.prompts import PlainPrompt, check_prompts, noise_seed
from dfprompt.evaluation.recheck import check_scores
from dfprompt.evaluation.records import Row, RowFile
from dfprompt.evaluation.rewrites import Rewrites, RewriteStore, file_name
from dfprompt.evaluation.scoreboard import Plain as PlainPlace
from dfprompt.evaluation.scoreboard import Scoreboard, Scored
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.denoise import check_lockstep
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings

AT_ONCE = 64  # pictures drawn, scored and recorded together
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Plan:
    """What is evaluated: prompts, methods (plain is always among them), seeds, scores, how to draw."""

    prompts: Sequence[PlainPrompt]
    methods: Sequence[Method]
    seeds: Sequence[int]
    scoreboard: Scoreboard
    settings: RenderSettings = field(default_factory=RenderSettings)
    negative_prompt: str | None = None
    rewrite_seed: int = 0

    def checked(self) -> Plan:
        """Return the plan with plain first; raises ConfigError for nothing to do or a name used twice."""
        for name, values in (("prompt", self.prompts), ("seed", self.seeds)):
            if not values:
                raise ConfigError(f"an evaluation needs at least one {name}")
        _ = self.scoreboard.chooser  # an evaluation without a reward would only draw
        plain = [method for method in self.methods if method.name == PLAIN] or [Plain()]
        methods = [*plain, *(method for method in self.methods if method.name != PLAIN)]
        names = [method.name for method in methods]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ConfigError(f"two methods are called {', '.join(twice)}; give them different names")
        seeds = list(dict.fromkeys(self.seeds))
        return replace(self, prompts=check_prompts(self.prompts), methods=methods, seeds=seeds)


@dataclass(frozen=True)
class Outcome:
    """What an evaluation gave: the rows asked for in order (prompt, seed, method), and the rewrites."""

    plan: Plan
    folder: Path
    rows: tuple[Row, ...]
    rewrites: Mapping[str, Rewrites]


class Job(NamedTuple):
    """One row to be made."""

    method: Method
    prompt: PlainPrompt
    seed: int
    rewrite: DFPrompt


class Drawn(NamedTuple):
    """One picture (3,H,W) of a job, and what it was drawn from."""

    image: Tensor
    noise: int
    recipe: Any


def run_evaluation(
    pipeline: ImagePipeline,
    plan: Plan,
    folder: Path,
    *,
    pictures_at_once: int = AT_ONCE,
    retry_failed: bool = False,
    progress: Progress | None = None,
) -> Outcome:
    """Run what is missing of an evaluation in its folder; a killed run goes on where it was.

    What fails (a method, a picture, a score) fails its own rows, by name; `retry_failed` makes those rows
    again. Raises EvaluationError for a folder that holds another evaluation or cannot be written.
    """
    plan = plan.checked()
    open_manifest(folder, _describe(pipeline, plan), plan.methods)
    store = RewriteStore(folder / REWRITES)
    rewrites = {method.name: store.get(method, plan.prompts, plan.rewrite_seed) for method in plan.methods}
    with RowFile(folder / ROWS) as file:
        check_scores(folder, file.rows, plan.prompts, plan.scoreboard)
        if retry_failed:
            file.drop_failed()
        run = _Run(pipeline, plan, folder, file, rewrites)
        run.fail_without_rewrite()
        done, total = run.count()
        with each_warning_once():
            for jobs in run.batches(pictures_at_once):
                run.work(jobs)
                done += len(jobs)
                if progress:
                    progress(done, total)
        return Outcome(plan, folder, tuple(run.rows()), rewrites)


def _describe(pipeline: ImagePipeline, plan: Plan) -> dict[str, Any]:
    settings = pipeline.resolve(plan.settings)
    return {
        "model": pipeline.mark.model_dump(mode="json", exclude_none=True),
        "settings": settings.model_dump(mode="json", exclude={"batch_size"}, exclude_none=True),
        "negative_prompt": plan.negative_prompt,
        "scores": plan.scoreboard.kinds,
        "rewrite_seed": plan.rewrite_seed,
    }


class _Run:
    """Draws, scores and records batches of jobs."""

    def __init__(
        self,
        pipeline: ImagePipeline,
        plan: Plan,
        folder: Path,
        file: RowFile,
        rewrites: Mapping[str, Rewrites],
    ) -> None:
        self.pipeline, self.plan, self.folder, self.file, self.rewrites = (
            pipeline,
            plan,
            folder,
            file,
            rewrites,
        )
        self.share = can_share(pipeline)

    def batches(self, pictures_at_once: int) -> Iterator[list[Job]]:
        """Yield the rows that are missing; those of one prompt and seed stay together, plain first."""
        batch: list[Job] = []
        for prompt in self.plan.prompts:
            for seed in self.plan.seeds:
                batch += self._missing(prompt, seed)
                if sum(job.method.pictures for job in batch) >= pictures_at_once:
                    yield batch
                    batch = []
        if batch:
            yield batch

    def fail_without_rewrite(self) -> None:
        """Record the rows of prompts that a method has no rewrite for."""
        self.file.append(
            [
                Row(method.name, prompt.id, prompt.text, seed, failed={"method": found.failed[prompt.id]})
                for method in self.plan.methods
                for prompt in self.plan.prompts
                for seed in self.plan.seeds
                if (found := self.rewrites[method.name])
                and prompt.id not in found.prompts
                and (method.name, prompt.id, seed) not in self.file.rows
            ]
        )

    def _missing(self, prompt: PlainPrompt, seed: int) -> Iterator[Job]:
        for method in self.plan.methods:
            if (method.name, prompt.id, seed) not in self.file.rows:
                yield Job(method, prompt, seed, self.rewrites[method.name].prompts[prompt.id])

    def work(self, jobs: Sequence[Job]) -> None:
        """Draw, choose, score, save and record."""
        started = time.perf_counter()
        drawn = attempt(self._draw, jobs)
        seconds = (time.perf_counter() - started) / sum(job.method.pictures for job in jobs)
        chosen = self._choose(jobs, drawn)
        rows: dict[int, Row] = {}
        good = []
        for index, (job, picture) in enumerate(zip(jobs, chosen, strict=True)):
            if isinstance(picture, Drawn):
                good.append((index, job, picture))
            else:
                rows[index] = self._row(job, failed={"picture": str(picture)})
        # A reward that compares with plain pictures finds them in this batch or among the rows.
        measured = self._score([job for _, job, _ in good], [picture.image for _, _, picture in good])
        entries = []
        for (index, job, picture), scored in zip(good, measured, strict=True):
            path = self._picture_path(job)
            recipe = picture.recipe.model_copy(update={"scores": scored.scores})
            entries.append(Entry(path, to_pil(picture.image[None])[0], recipe))
            rows[index] = self._row(
                job,
                noise=picture.noise,
                picture=path.relative_to(self.folder).as_posix(),
                scores=scored.scores,
                failed=scored.failed,
                pictures=job.method.pictures,
                seconds=round(seconds * job.method.pictures, 6),
            )
        save_pictures(entries, force=True)
        self.file.append(rows[index] for index in sorted(rows))

    def _draw(self, jobs: Sequence[Job]) -> list[list[Drawn]]:
        """Draw each job's pictures, all in one request."""
        wanted = [
            (job, noise_seed(job.prompt.id, job.seed, candidate))
            for job in jobs
            for candidate in range(job.method.pictures)
        ]
        request = self.pipeline.read(
            [job.rewrite for job, _ in wanted],
            [noise for _, noise in wanted],
            self.plan.settings,
            negative_prompt=self.plan.negative_prompt,
        )
        pictures = self.pipeline.draw_request(request, share=self.share)
        found = iter(
            Drawn(image, noise, self.pipeline.recipe(request, row))
            for row, ((_, noise), image) in enumerate(zip(wanted, pictures.images, strict=True))
        )
        return [[next(found) for _ in range(job.method.pictures)] for job in jobs]

    def _choose(
        self, jobs: Sequence[Job], drawn: Sequence[list[Drawn] | DFPromptError]
    ) -> list[Drawn | DFPromptError]:
        """Return the picture each job keeps: its only one, or the best by the first reward."""
        label = self.plan.scoreboard.chooser
        chosen: list[Drawn | DFPromptError] = []
        plains = {
            (job.prompt.id, job.seed): pictures[0].image
            for job, pictures in zip(jobs, drawn, strict=True)
            if job.method.name == PLAIN and not isinstance(pictures, DFPromptError)
        }
        for job, pictures in zip(jobs, drawn, strict=True):
            if isinstance(pictures, DFPromptError):
                chosen.append(pictures)
            elif len(pictures) == 1:
                chosen.append(pictures[0])
            else:
                chosen.append(self._best(job, pictures, label, plains.get((job.prompt.id, job.seed))))
        return chosen

    def _best(
        self, job: Job, pictures: Sequence[Drawn], label: str, plain: Tensor | None
    ) -> Drawn | DFPromptError:
        images = [picture.image for picture in pictures]
        where: PlainPlace = self._recorded_plain(job) if plain is None else len(images)
        if plain is not None:
            images.append(plain)
        measured = self.plan.scoreboard.measure(
            torch.stack(images), [job.prompt] * len(images), [where] * len(images), only=[label]
        )[: len(pictures)]
        failure = next((scored.failed[label] for scored in measured if label in scored.failed), None)
        if failure is not None:
            return ConfigError(f"nothing to choose the best picture by: {failure}")
        return max(zip(measured, pictures, strict=True), key=lambda pair: pair[0].scores[label])[1]

    def _score(self, jobs: Sequence[Job], images: Sequence[Tensor]) -> list[Scored]:
        if not jobs:
            return []
        rows = {(job.prompt.id, job.seed): row for row, job in enumerate(jobs) if job.method.name == PLAIN}
        places: list[PlainPlace] = [
            rows.get((job.prompt.id, job.seed), self._recorded_plain(job)) for job in jobs
        ]
        return self.plan.scoreboard.measure(torch.stack(list(images)), [job.prompt for job in jobs], places)

    def _recorded_plain(self, job: Job) -> Mapping[str, float] | None:
        row = self.file.rows.get((PLAIN, job.prompt.id, job.seed))
        return None if row is None else row.scores

    def _row(self, job: Job, **values: Any) -> Row:
        return Row(
            job.method.name, job.prompt.id, job.prompt.text, job.seed, df_prompt=str(job.rewrite), **values
        )

    def _picture_path(self, job: Job) -> Path:
        name = f"{file_name(job.prompt.id)}-{job.seed}.png"
        return self.folder / PICTURES / file_name(job.method.name) / name

    def count(self) -> tuple[int, int]:
        """Return how many of the rows asked for are there, and how many are asked for."""
        there = [key in self.file.rows for key in self._keys()]
        return sum(there), len(there)

    def rows(self) -> Iterator[Row]:
        """Yield the rows asked for; a folder may hold more, of other prompts and methods."""
        return (self.file.rows[key] for key in self._keys())

    def _keys(self) -> Iterator[tuple[str, str, int]]:
        for prompt in self.plan.prompts:
            for seed in self.plan.seeds:
                for method in self.plan.methods:
                    yield method.name, prompt.id, seed


def can_share(pipeline: ImagePipeline) -> bool:
    """Return whether the lockstep loop knows this pipeline and its scheduler."""
    try:
        check_lockstep(pipeline.pipe)
    except UnsupportedPipelineError:
        return False  # drawn by the stock call; the pictures are the same
    return True
