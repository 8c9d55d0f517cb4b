"""The loop of stage 2: draw, reward, update, measure, save. PPO and GRPO are what happens in `update`.

A step is one rollout and the updates on it. Everything random is a function of (seed, step), and the policy
of stage 1 that was given at the start is the reference of every step, so a resumed run needs nothing but its
checkpoint.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from accelerate.utils import gather_object

from dfprompt.errors import ConfigError, GenerationError, RewardError, TrainingError
from dfprompt.executor import Executor, LocalExecutor
from dfprompt.policy import Policy
from dfprompt.training.checkpoint import Checkpoints
from dfprompt.training.devices import make_accelerator, restore_scaler, scaler_state, seed_step
from dfprompt.training.export import export_policy, save_policy
from dfprompt.training.learner import Learner
from dfprompt.training.metrics import MetricsLog
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
from dfprompt.training.run_folder import open_run
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


def train_on_rewards(
    algorithm: Callable[[Any, Policy, SettingsT], Learner],
    policy: Policy,
    train: Sequence[Task],
    validation: Sequence[Task],
    reward: Rewarder,
    settings: SettingsT,
    folder: Path,
    *,
    group: int = 1,
    keep_plain: bool = False,
    executor: Executor | None = None,
    acting: Sequence[bool] | None = None,
    resume: bool = False,
    force: bool = False,
    extra: Mapping[str, Path] | None = None,
    report: Report | None = None,
) -> RlResult:
    """Train a policy of stage 1 on what `reward` says of its rewrites and write the run into a folder.

    `executor` runs the reward (here and now unless another one is given); `acting` says which range classes
    act at any step of the pictures; `resume` goes on at the latest checkpoint to the same numbers as an
    uninterrupted run (bit-equal on CPU with the same number of threads, if the reward is). Raises ConfigError
    for a folder in use; TrainingError where a reward fails or numbers are not finite, with the last good
    checkpoint intact.
    """
    _check(policy, train, settings)
    if settings.train == "words":
        policy.model.config.control = "none"  # every control is the default, in training and ever after
    accelerator = make_accelerator(device=settings.device, mixed_precision=settings.optimizer.mixed_precision)
    main = accelerator.is_main_process
    if main:
        open_run(folder, settings, seed=settings.seed, resume=resume, force=force)
    accelerator.wait_for_everyone()
    learner = algorithm(accelerator, policy, settings)
    plan = RolloutPlan(train, rows=settings.rollout.rows, group=group, seed=settings.seed)
    checkpoints = Checkpoints(folder / "checkpoints", keep=settings.checkpoints.keep)
    first, best, seen = 0, {"step": 0, "reward": -math.inf}, None
    if checkpoints.steps():
        first, state = checkpoints.load(learner.trained)
        best = state["best"]
        learner.restore(state["learner"])
        restore_scaler(accelerator, state["scaler"])
        seen = state["watchdogs"]
    watchdogs = Watchdogs(settings.watchdogs, heads=settings.train != "words")
    stage = _Stage(accelerator, policy, reward, executor or LocalExecutor(), settings, acting, checkpoints)
    checked = validation_draws(validation[: settings.validation.rows], settings.seed)
    logs = _Logs(folder, settings, first) if main else None
    if seen is not None:
        watchdogs.restore(seen)
    elif checked.tasks and settings.reward.meaning:
        watchdogs.set_meaning(meaning_of(stage.draw(checked, watched=True)))

    stop: list[Alert] = []
    for step in range(first, settings.optimizer.steps):
        started = time.perf_counter()
        done, last = step + 1, step + 1 == settings.optimizer.steps
        seed_step(settings.seed, step, accelerator.process_index)
        rollout = stage.draw(plan.draws(step), keep_plain=keep_plain)
        drawn = time.perf_counter()
        figures = learner.learn(rollout, step)
        stage.check(done, figures)
        row: dict[str, Any] = {"step": done, **describe_rollout(rollout, policy), **figures}
        row["pictures_per_second"] = len(rollout.attempts) / max(drawn - started, 1e-9)
        row["rollout_seconds"], row["update_seconds"] = drawn - started, time.perf_counter() - drawn
        samples: list[dict[str, Any]] = []
        if checked.tasks and (done % settings.validation.interval == 0 or last):
            measured = stage.draw(checked, watched=True)
            row["validation_reward"] = float(measured.terms.reward.mean())
            if settings.reward.meaning:
                row[MEANING] = meaning_of(measured)
            samples = [attempt_json(measured, at) for at in range(len(measured.attempts))]
            samples = [{"step": done, **each} for each in samples[: settings.validation.samples]]
            if row["validation_reward"] > best["reward"]:
                best = {"step": done, "reward": row["validation_reward"]}
                save_policy(accelerator, policy, folder / "best", extra)
        figures, alerts = watchdogs.look(words_of(rollout), row)
        row |= figures
        stop = [each for each in alerts if each.stop]
        if alerts:
            row["alerts"] = [f"{each.name}: {each.message}" for each in alerts]
        if logs is not None:
            logs.write(row, samples)
        last = last or bool(stop)
        if done % settings.checkpoints.interval == 0 or last:
            if main:
                state = {"best": best, "learner": learner.state(), "scaler": scaler_state(accelerator)}
                state["watchdogs"] = watchdogs.state()
                checkpoints.save(done, learner.trained, state)
            accelerator.wait_for_everyone()
        if report is not None and main:
            report({**row, "steps": settings.optimizer.steps, "samples": samples})
        if stop:
            break

    if logs is not None:
        logs.close()
    export_policy(accelerator, policy, folder, settings.export, extra)
    if stop:
        raise TrainingError(
            f"a watchdog stopped the run at step {done}: {stop[0].name}: {stop[0].message}; its policy is "
            f"{folder / 'policy'}. Look at metrics.jsonl; --resume goes on all the same"
        )
    return RlResult(folder, settings.optimizer.steps, int(best["step"]), float(best["reward"]))


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

    def draw(self, draws: Draws, *, keep_plain: bool = False, watched: bool = False) -> Rollout:
        """Roll out; a reward or a picture that fails stops the run and says how to go on."""
        processes = self.accelerator.num_processes
        mine = share_draws(draws, self.accelerator.process_index, processes)
        parts = [self._part(mine, keep_plain, watched)] if mine.tasks else []
        return join_rollouts(gather_object(parts) if processes > 1 else parts, self.policy.vocabulary.end_id)

    def _part(self, draws: Draws, keep_plain: bool, watched: bool) -> Rollout:
        try:
            return roll_out(
                self.policy,
                draws,
                self.reward,
                self.executor,
                self.settings.rollout,
                acting=self.acting,
                keep_plain=keep_plain,
                watched=watched,
            )
        except (RewardError, GenerationError) as error:
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
        if row["step"] % self.settings.logging.interval == 0 or "validation_reward" in row:
            self.metrics.write(row)
        for sample in samples:
            self.samples.write(sample)

    def close(self) -> None:
        self.metrics.close()
        self.samples.close()


def words_of(rollout: Rollout) -> list[tuple[str, list[str]]]:
    """Prompt and modifiers of each rewrite."""
    rewrites = [each.rewrite for each in rollout.attempts]
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
