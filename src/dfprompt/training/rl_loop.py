"""The loop of stage 2: draw, reward, update, measure, save. PPO and GRPO are what happens in `update`.

A step is one rollout and the updates on it. Everything random is a function of (seed, step), and the policy
of stage 1 that was given at the start is the reference of every step, so a resumed run needs nothing but its
checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from accelerate.utils import gather_object

from dfprompt.errors import ConfigError, ExecutorError, GenerationError, RewardError, TrainingError
from dfprompt.executor import Executor, LocalExecutor
from dfprompt.policy import Policy
from dfprompt.training.checkpoint import Checkpoints, best_so_far
from dfprompt.training.devices import make_accelerator, restore_scaler, scaler_state, seed_step
from dfprompt.training.export import export_policy, save_policy
from dfprompt.training.metrics import MetricsLog
from dfprompt.training.rl_algorithm import RlAlgorithm
from dfprompt.training.rl_settings import RlSettings
from dfprompt.training.rollout import (
    PLAIN_MEANING,
    SHOWN,
    Draws,
    Rewarder,
    Rollout,
    RolloutPlan,
    Task,
    attempt_json,
    describe_rollout,
    join_rollouts,
    roll_out,
    share_draws,
    validation_draws,
)
from dfprompt.training.run_folder import differences, open_run
from dfprompt.training.watchdogs import MEANING, Alert, Watchdogs

Report = Callable[[Mapping[str, Any]], None]
SettingsT = TypeVar("SettingsT", bound=RlSettings)


@dataclass(frozen=True)
class RlResult:
    """What a run came to: its folder, the steps done, and the best validation with its step."""

    folder: Path
    steps: int
    best_step: int
    validation_reward: float


@dataclass(frozen=True)
class RunSources:
    """What a run is begun with: files that its policies keep beside them, and digests of its inputs."""

    files: Mapping[str, Path] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Trainer(Generic[SettingsT]):
    """Trains a policy of stage 1 by one algorithm: `train_ppo` and `train_grpo`."""

    algorithm: Callable[[Any, Policy, SettingsT], RlAlgorithm]

    def __call__(
        self,
        policy: Policy,
        train: Sequence[Task],
        validation: Sequence[Task],
        reward: Rewarder,
        settings: SettingsT,
        folder: Path,
        *,
        executor: Executor | None = None,
        acting: Sequence[bool] | None = None,
        resume: bool = False,
        force: bool = False,
        sources: RunSources | None = None,
        report: Report | None = None,
    ) -> RlResult:
        """Train a policy on what `reward` says of its rewrites and write the run into a folder.

        `executor` runs the reward (here and now unless another one is given); `acting` says which range
        classes act at any step of the pictures; `resume` goes on at the latest checkpoint to the same numbers
        as an uninterrupted run (bit-equal on CPU with the same number of threads, if the reward is). Raises
        ConfigError for a folder in use; TrainingError where a reward fails or numbers are not finite, with
        the last good checkpoint intact.
        """
        sources = sources or RunSources()
        _check(policy, train, settings)
        if settings.train == "words":
            policy.model.config.control = "none"  # every control is the default, ever after too
        accelerator = make_accelerator(
            device=settings.device, mixed_precision=settings.optimizer.mixed_precision
        )
        main = accelerator.is_main_process
        if main:
            given = sources.digests or None
            open_run(folder, settings, seed=settings.seed, resume=resume, force=force, inputs=given)
        accelerator.wait_for_everyone()
        tastes = tuple(settings.tastes.rewards)
        if list(tastes) != policy.model.config.tastes:
            raise ConfigError(
                f"the policy has the tastes {policy.model.config.tastes}, and tastes.rewards names "
                f"{list(tastes)}; name those of the policy, or begin at one without any"
            )
        learner = self.algorithm(accelerator, policy, settings)
        rows, copies = settings.rollout.rows, settings.rollout.control_draws
        plan = RolloutPlan(
            train,
            rows=rows,
            group=settings.group.size,
            control_draws=copies,
            seed=settings.seed,
            tastes=tastes,
            dropout=settings.tastes.dropout,
        )
        checkpoints = Checkpoints(folder / "checkpoints", keep=settings.checkpoints.keep)
        stage = _Stage(
            accelerator, policy, reward, executor or LocalExecutor(), settings, acting, checkpoints
        )
        checked = validation_draws(validation[: settings.validation.rows], settings.seed, tastes)
        loop = _Loop(stage, learner, plan, checked, folder, extra=sources.files, report=report)
        done, stop = loop.run()
        export_policy(accelerator, policy, folder, settings.export, sources.files)
        if stop:
            raise TrainingError(
                f"a watchdog stopped the run at step {done}: {stop[0].name}: {stop[0].message}; "
                f"its policy is {folder / 'policy'}. Look at metrics.jsonl; --resume goes on all the same"
            )
        return RlResult(folder, settings.optimizer.steps, int(loop.best["step"]), float(loop.best["reward"]))


class _Loop:
    """The steps of a run: what each does, in this order, and what it leaves on disk."""

    def __init__(
        self,
        stage: _Stage,
        learner: RlAlgorithm,
        plan: RolloutPlan,
        checked: Draws,
        folder: Path,
        *,
        extra: Mapping[str, Path] | None,
        report: Report | None,
    ) -> None:
        self.stage, self.learner, self.plan, self.checked = stage, learner, plan, checked
        self.accelerator, self.settings, self.policy = stage.accelerator, stage.settings, stage.policy
        self.folder, self.extra, self.report = folder, extra, report
        self.best: dict[str, Any] = {"step": 0, "reward": -math.inf}
        self.watchdogs = Watchdogs(self.settings.watchdogs, heads=self.settings.train != "words")
        self.logs: _Logs | None = None

    def run(self) -> tuple[int, list[Alert]]:
        """All steps that are left: the steps done, and the alerts that ended the run early."""
        first, steps = self._restore(), self.settings.optimizer.steps
        if self.accelerator.is_main_process:
            self.logs = _Logs(self.folder, self.settings, first)
        stop: list[Alert] = []
        done = first
        while done < steps and not stop:
            done += 1
            stop = self._step(done, last=done == steps)
        if self.logs is not None:
            self.logs.close()
        return done, stop

    def _restore(self) -> int:
        """Go on at the latest checkpoint, or measure where stage 1 stands; returns the steps done."""
        checkpoints = self.stage.checkpoints
        if checkpoints.steps():
            first, state = checkpoints.load(self.learner.trained)
            with checkpoints.putting_back():
                calibration = dict(state["calibration"]) if "calibration" in state else None
                self.best = best_so_far(state, "reward")
                self.learner.restore(state["learner"], checkpoints.load_memory())
                restore_scaler(self.accelerator, state["scaler"])
                self.watchdogs.restore(state["watchdogs"])
            if calibration is not None:
                self._check_calibration(calibration)
            return first
        if self.checked.tasks and self.settings.reward.meaning:
            self.watchdogs.set_meaning(meaning_of(self.stage.draw(self.checked, watched=True)))
        return 0

    def _check_calibration(self, before: Mapping[str, Any]) -> None:
        """Rewards of two calibrations do not compare: not in the watchdogs, not in which policy was best."""
        now = getattr(self.stage.reward, "calibration", {})
        if changed := differences(before, now):
            raise ConfigError(
                f"the reward of {self.folder} has changed since its checkpoint ({', '.join(changed)}); put "
                "its recipe back, or take another folder"
            )

    def _step(self, done: int, *, last: bool) -> list[Alert]:
        """One rollout and the updates on it; returns the alerts that end the run."""
        step, started = done - 1, time.perf_counter()
        seed_step(self.settings.seed, step, self.accelerator.process_index)
        plain, explore = self.settings.draws_plain, self.learner.explore(step)
        rollout = self.stage.draw(self.plan.draws(step), keep_plain=plain, explore=explore)
        drawn = time.perf_counter()
        figures = self.learner.learn(rollout, step)
        self.stage.check(done, figures)
        row: dict[str, Any] = {"step": done, **describe_rollout(rollout, self.policy), **figures}
        row["pictures_per_second"] = len(rollout.attempts) / max(drawn - started, 1e-9)
        row["rollout_seconds"], row["update_seconds"] = drawn - started, time.perf_counter() - drawn
        due = done % self.settings.validation.interval == 0 or last
        samples = self._validate(done, row) if self.checked.tasks and due else []
        figures, alerts = self.watchdogs.look(words_of(rollout), row)
        row |= figures
        stop = [each for each in alerts if each.stop]
        if alerts:
            row["alerts"] = [f"{each.name}: {each.message}" for each in alerts]
        if self.logs is not None:
            self.logs.write(row, samples)
        # Before the checkpoint: a page of pictures not yet drawn would never be drawn after it.
        if self.report is not None and self.accelerator.is_main_process:
            self.report({**row, "steps": self.settings.optimizer.steps, "samples": samples})
        if done % self.settings.checkpoints.interval == 0 or last or stop:
            self._save(done)
        return stop

    def _validate(self, done: int, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Measure on the validation prompts into `row` and keep the best policy; returns the samples."""
        measured = self.stage.draw(self.checked, watched=True)
        row["validation_reward"] = float(measured.terms.reward.mean())
        if self.settings.reward.meaning:
            row[MEANING] = meaning_of(measured)
        if row["validation_reward"] > self.best["reward"]:
            self.best = {"step": done, "reward": row["validation_reward"]}
            save_policy(self.accelerator, self.policy, self.folder / "best", self.extra)
        shown = min(len(measured.attempts), self.settings.validation.samples)
        return [{"step": done, **attempt_json(measured, at)} for at in range(shown)]

    def _save(self, done: int) -> None:
        if self.accelerator.is_main_process:
            state = {
                "best": self.best,
                "learner": self.learner.state(),
                "scaler": scaler_state(self.accelerator),
                "watchdogs": self.watchdogs.state(),
                "calibration": getattr(self.stage.reward, "calibration", {}),
            }
            self.stage.checkpoints.save(done, self.learner.trained, state, self.learner.memory())
        self.accelerator.wait_for_everyone()


class _Stage:
    """Where rollouts happen: each process draws and rewards its share, and all get the whole."""

    def __init__(
        self,
        accelerator: Any,
        policy: Policy,
        reward: Rewarder,
        executor: Executor,
        settings: RlSettings,
        acting: Sequence[bool] | None,
        checkpoints: Checkpoints,
    ) -> None:
        self.accelerator, self.policy, self.reward, self.executor = accelerator, policy, reward, executor
        self.settings, self.acting, self.checkpoints = settings, acting, checkpoints

    def draw(self, draws: Draws, **how: Any) -> Rollout:
        """Roll out, with `how` of `roll_out`; what fails stops the run and says how to go on."""
        processes = self.accelerator.num_processes
        mine = share_draws(draws, self.accelerator.process_index, processes)
        if processes == 1:
            parts = [self._part(mine, how)]
        else:
            parts = self._parts_of_all(mine, how)
        return join_rollouts(parts, self.policy.vocabulary.end_id)

    def _parts_of_all(self, mine: Draws, how: Mapping[str, Any]) -> list[Rollout]:
        """Every process's rows. Where one fails all raise its error: they would wait for its rows."""
        parts: list[Rollout] = []
        failures: list[str] = []
        try:
            parts = [self._part(mine, how)] if mine.tasks else []
        except TrainingError as error:
            failures = [str(error)]
        if failures := gather_object(failures):
            raise TrainingError(failures[0])
        return list(gather_object(parts))

    def _part(self, draws: Draws, how: Mapping[str, Any]) -> Rollout:
        try:
            return roll_out(
                self.policy,
                draws,
                self.reward,
                self.executor,
                self.settings.rollout,
                acting=self.acting,
                **how,
            )
        except (RewardError, GenerationError, ExecutorError) as error:
            raise TrainingError(f"{error}; {self.checkpoints.describe_last()}") from error

    def check(self, step: int, figures: Mapping[str, float]) -> None:
        """Stop where an update came to numbers that are none."""
        bad = [name for name, value in figures.items() if not math.isfinite(value)]
        if bad:
            raise TrainingError(
                f"{bad[0]} of step {step} is {figures[bad[0]]}; {self.checkpoints.describe_last()}. Lower "
                "optimizer.learning_rate, or look at what the reward gave"
            )


class _Logs:
    """metrics.jsonl and samples.jsonl of a run."""

    def __init__(self, folder: Path, settings: RlSettings, resume_at: int) -> None:
        self.settings = settings
        board = folder / "tensorboard" if settings.logging.tensorboard else None
        self.metrics = MetricsLog(folder / "metrics.jsonl", resume_at=resume_at, tensorboard=board)
        self.samples = MetricsLog(folder / "samples.jsonl", resume_at=resume_at)

    def write(self, row: Mapping[str, Any], samples: Sequence[Mapping[str, Any]]) -> None:
        due = row["step"] % self.settings.logging.interval == 0
        if due or "validation_reward" in row or row.get("alerts"):  # what is said once is said here
            self.metrics.write(row)
        for sample in samples:
            self.samples.write(sample)

    def close(self) -> None:
        self.metrics.close()
        self.samples.close()


def words_of(rollout: Rollout) -> list[tuple[str, list[str]]]:
    """Prompt and modifiers of each rewrite, once however often its controls were drawn."""
    rewrites = [each.rewrite for each in rollout.attempts[:: rollout.control_draws]]
    return [(each.plain, [span.text for span in each.modifiers]) for each in rewrites]


def meaning_of(rollout: Rollout) -> float:
    """How much more the pictures show of their plain prompts than the plain pictures do; below 0: less."""
    scores = rollout.terms.scores
    if not {SHOWN, PLAIN_MEANING} <= scores.keys():
        raise TrainingError(
            "reward.meaning is set, and the reward gives no such scores; leave it empty for a reward that "
            "draws no pictures"
        )
    return float((scores[SHOWN] - scores[PLAIN_MEANING]).mean())


def _check(policy: Policy, train: Sequence[Task], settings: RlSettings) -> None:
    if not train:
        raise ConfigError("there is no prompt to train on; name a folder with rows in data.folder")
    if policy.model.config.control == "none" and settings.train != "words":
        raise ConfigError(
            "this policy has no heads for ranges and weights; train stage 1 with control phrase or token"
        )
    compares = "rollout.control_draws above 1" if settings.rollout.control_draws > 1 else ""
    needs = "critic.use" if settings.critic.use else compares
    if needs and policy.model.config.control != "phrase":
        raise ConfigError(f"{needs} needs a policy with control phrase")
