"""Stage 2 by recipe: a policy, a pipeline and a reward by name become a run of PPO or GRPO."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.api.scoring import load_judges
from dfprompt.api.training import (
    TRAIN,
    VALIDATION,
    choose_run_folder,
    digest_inputs,
    digest_source,
    files_beside,
    find_policy_source,
    open_trainable,
)
from dfprompt.api.training_plots import plotted
from dfprompt.api.world import mini_folder
from dfprompt.config import load_config
from dfprompt.errors import ConfigError, GenerationError, TrainingError
from dfprompt.images.grid import make_grid
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.parser import read_back
from dfprompt.requests.render import RenderSettings
from dfprompt.training.examples import read_examples
from dfprompt.training.grpo import train_grpo
from dfprompt.training.picture_reward import PictureReward
from dfprompt.training.ppo import train_ppo
from dfprompt.training.rl_loop import Report, RlResult, RunSources
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings, RlSettings
from dfprompt.training.rollout import Task
from dfprompt.training.run_folder import RECIPE, lock_run

Algorithm = Literal["ppo", "grpo"]
PAGES = "pages"
MINI_CLIP = "clip:mini"
SETTINGS_OF: Mapping[str, type[RlSettings]] = {"ppo": PpoSettings, "grpo": GrpoSettings}
_TRAINERS: dict[str, Callable[..., RlResult]] = {"ppo": train_ppo, "grpo": train_grpo}


def run_reinforcement(
    algorithm: Algorithm,
    recipe: str | Path | None = None,
    assignments: Iterable[str] = (),
    *,
    output: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    allow_code: bool = False,
    report: Report | None = None,
) -> tuple[RlResult, dict[str, int]]:
    """Run stage 2 as a recipe says; without one, as the run in `output` was begun, or by the defaults.

    Returns the result and what was drawn: pictures, denoiser evaluations, those that sharing saved.
    Names in a recipe are "mini", hub ids, or paths from the current folder; `allow_code` lets a reward
    recipe import code. Raises ConfigError for a recipe that cannot be run, InputError for rows that
    cannot be read, LoadError for models, TrainingError where a run stops.
    """
    folder = choose_run_folder(output, recipe, resume=resume, default=algorithm)
    # First of all: a process that just began has no recipe there yet.
    with lock_run(folder), plotted(folder):
        if recipe is None and resume:
            recipe = folder / RECIPE
        settings = load_config(SETTINGS_OF[algorithm], recipe, assignments)
        train, validation = read_tasks(settings.data.folder)
        base = find_policy_source(settings.model.base)
        policy = open_trainable(base, settings.model, settings.policy, seed=settings.seed)
        policy.max_modifiers = settings.rollout.max_modifiers or None
        asked = settings.pictures
        device = settings.device if asked.device == "auto" else asked.device
        pipeline = open_pipeline(asked.model_copy(update={"device": device}))
        drawing = asked.settings
        reward = make_picture_reward(pipeline, settings, allow_code=allow_code)
        steps = pipeline.resolve(drawing).num_inference_steps
        pages = Pages(pipeline, drawing, folder / PAGES, report, asked.negative_prompt)
        result = _TRAINERS[algorithm](
            policy,
            train,
            validation,
            reward,
            settings,
            folder,
            acting=policy.model.config.tables.acting(steps),
            resume=resume,
            force=force,
            sources=RunSources(
                files_beside(base, settings.model),
                digest_inputs(
                    settings.data.folder,
                    base,
                    pipeline=str(pipeline.origin.hash_weights()),
                    reward=digest_source(settings.reward.source),
                ),
            ),
            report=pages.take,
        )
    spent = reward.spent
    drawn = {"pictures": spent.pictures, "evaluations": spent.evaluations, "evaluations_saved": spent.saved}
    return result, drawn


def make_picture_reward(
    pipeline: ImagePipeline, settings: RlSettings, *, allow_code: bool = False
) -> PictureReward:
    """The reward of a recipe over the pictures of a pipeline, its judges beside it."""
    choice = settings.reward
    reward = load_reward(
        choice.source, device=settings.device, allow_code=allow_code, assignments=choice.changes
    )
    judges = load_judges(choice.judges, device=settings.device, allow_code=allow_code)
    meaning = None
    if choice.meaning:
        named = f"clip:{mini_folder('clip')}" if choice.meaning == MINI_CLIP else choice.meaning
        meaning = load_reward(named, device=settings.device, allow_code=allow_code)
    pictures = settings.pictures
    return PictureReward(
        pipeline,
        reward,
        pictures.settings,
        judges=judges,
        meaning=meaning,
        share=pictures.share,
        negative_prompt=pictures.negative_prompt,
    )


def read_tasks(folder: str) -> tuple[list[Task], list[Task]]:
    """The different short prompts to train and to validate on, from the folder `dfprompt curate` wrote.

    Each comes with the fields of its row, which a reward may read. Prompts whose modifiers failed the
    filter are rewritten like all others: what failed were the modifiers.
    """
    if not folder:
        raise ConfigError(
            "data.folder names no data; write some with `dfprompt curate SOURCE --output data` and pass "
            "--set data.folder=data"
        )
    return _tasks(Path(folder) / TRAIN), _tasks(Path(folder) / VALIDATION)


def _tasks(path: Path) -> list[Task]:
    examples = read_examples(path)  # checks every line
    lines = [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]
    found: dict[str, Task] = {}
    for example, line in zip(examples, lines, strict=True):
        record = {name: value for name, value in json.loads(line).items() if name != "modifiers"}
        found.setdefault(example.short, Task(example.short, record))
    return list(found.values())


class Pages:
    """A page of pictures per validation: the sample prompts plain, and as the policy rewrites them now."""

    def __init__(
        self,
        pipeline: ImagePipeline,
        settings: RenderSettings,
        folder: Path,
        report: Report | None,
        negative_prompt: str | None = None,
    ) -> None:
        self.negative = negative_prompt
        self.pipeline, self.settings, self.folder, self.report = pipeline, settings, folder, report

    def take(self, row: Mapping[str, Any]) -> None:
        """Take a row of a training, draw its samples if it has any, and pass it on."""
        if row.get("samples"):
            self.draw(int(row["step"]), row["samples"])
        if self.report is not None:
            self.report(row)

    def draw(self, step: int, samples: Sequence[Mapping[str, Any]]) -> Path:
        """Write the page of a step; raises TrainingError where the disk is full."""
        prompts = [DFPrompt.from_plain(each["plain"]) for each in samples]
        prompts += [read_back(each["text"]) for each in samples]
        seeds = [each["image_seed"] for each in samples] * 2
        drawn = self.pipeline.draw(prompts, seeds, self.settings, negative_prompt=self.negative)
        pictures = to_pil(drawn.images)
        captions = [each["plain"] for each in samples]
        captions += [f"{each['text']} ({each['reward']:.3g})" for each in samples]
        page = make_grid(
            pictures,
            captions,
            columns=len(samples),
            row_titles=["plain", "rewritten"],
            title=f"step {step}",
        )
        path = self.folder / f"step-{step:06d}.png"
        try:
            save_pictures([Entry(path, page)], force=True)
        except GenerationError as error:
            raise TrainingError(f"{error}; make room and go on with --resume") from error
        return path
