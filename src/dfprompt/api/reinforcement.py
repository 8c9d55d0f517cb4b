"""Stage 2 by recipe: a policy, a pipeline and a reward by name become a run of PPO or GRPO."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from dfprompt.api.inputs import TRAIN, VALIDATION, digest_inputs, digest_source
from dfprompt.api.picture_work import Page, PictureWork
from dfprompt.api.training import (
    choose_run_folder,
    files_beside,
    find_policy_source,
    open_trainable,
)
from dfprompt.api.training_plots import plotted
from dfprompt.config import load_config
from dfprompt.errors import ConfigError, DFPromptWarning, ExecutorError, TrainingError
from dfprompt.executor import Executor, opened
from dfprompt.training.examples import read_examples
from dfprompt.training.grpo import train_grpo
from dfprompt.training.ppo import train_ppo
from dfprompt.training.rl_loop import Report, RlResult, RunSources
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings, RlSettings, RolloutSettings
from dfprompt.training.rollout import Task
from dfprompt.training.run_folder import RECIPE, lock_run

Algorithm = Literal["ppo", "grpo"]
PAGES = "pages"
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
        tastes = tuple(settings.tastes.rewards)
        policy = open_trainable(base, settings.model, settings.policy, seed=settings.seed, tastes=tastes)
        policy.max_modifiers = settings.rollout.max_modifiers or None
        work = PictureWork(settings, allow_code=allow_code)
        with opened(**settings.scale.chosen) as executor:
            _check_busy(settings.rollout, getattr(executor, "size", 1))
            (facts,) = executor.map(work, [None])
            pages = Pages(executor, work, folder / PAGES, report)
            result = _TRAINERS[algorithm](
                policy,
                train,
                validation,
                work,
                settings,
                folder,
                executor=executor,
                acting=policy.model.config.tables.acting(facts.steps),
                resume=resume,
                force=force,
                sources=RunSources(
                    files_beside(base, settings.model),
                    digest_inputs(
                        settings.data.folder,
                        base,
                        pipeline=facts.weights,
                        reward=digest_source(settings.reward.source),
                        **{
                            f"taste {name}": digest_source(each)
                            for name, each in settings.tastes.rewards.items()
                        },
                    ),
                ),
                report=pages.take,
            )
    spent = work.spent
    drawn = {"pictures": spent.pictures, "evaluations": spent.evaluations, "evaluations_saved": spent.saved}
    return result, drawn


def _check_busy(rollout: RolloutSettings, workers: int) -> None:
    """Warn where a step has fewer batches than there are workers."""
    batches = -(-rollout.rows // rollout.batch_size)
    if batches < workers:
        warnings.warn(
            f"a step's {rollout.rows} rewrites are {batches} batches for {workers} workers: some stand idle; "
            f"set rollout.batch_size={max(1, rollout.rows // workers)} (other batches round otherwise)",
            DFPromptWarning,
            stacklevel=3,
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

    def __init__(self, executor: Executor, work: PictureWork, folder: Path, report: Report | None) -> None:
        self.executor, self.work, self.folder, self.report = executor, work, folder, report

    def take(self, row: Mapping[str, Any]) -> None:
        """Take a row of a training, draw its samples if it has any, and pass it on."""
        if row.get("samples"):
            step = int(row["step"])
            path = (self.folder / f"step-{step:06d}.png").resolve()
            try:
                list(self.executor.map(self.work, [Page(step, tuple(row["samples"]), path)]))
            except ExecutorError as error:
                raise TrainingError(f"{error}; go on with --resume") from error
            if not path.exists():
                raise TrainingError(
                    f"a worker wrote {path}, and here it is not: --output must be storage that all machines "
                    "share under one name"
                )
        if self.report is not None:
            self.report(row)
