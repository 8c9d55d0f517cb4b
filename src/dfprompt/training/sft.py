"""Stage 1, E_ReP: a policy learns which modifiers people append, from prompts that passed the filter.

Loss (equation 2 of the paper): the negative log-probability of the modifiers given the short prompt,
averaged over all their tokens in an optimiser step. Nothing else counts: not the short prompt, not
padding, never another prompt. The heads keep the start their bias gives them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from dfprompt.errors import ConfigError, TrainingError
from dfprompt.policy import Policy, SamplingSettings, Vocabulary, compute_logprobs
from dfprompt.training.checkpoint import Checkpoints, Trained, best_so_far
from dfprompt.training.devices import make_accelerator, restore_scaler, scaler_state, seed_step
from dfprompt.training.examples import Example
from dfprompt.training.export import export_policy, save_policy
from dfprompt.training.metrics import MetricsLog
from dfprompt.training.optimization import learning_rate, make_optimizer, set_learning_rate
from dfprompt.training.run_folder import open_run
from dfprompt.training.sft_batches import EncodedExample, SftBatches, Wording, collate
from dfprompt.training.sft_settings import SftSettings

Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class SftResult:
    """What a run came to: its folder, the steps done, and the best validation with its step."""

    folder: Path
    steps: int
    best_step: int
    validation_loss: float


def train_sft(
    policy: Policy,
    train: Sequence[Example],
    validation: Sequence[Example],
    settings: SftSettings,
    folder: Path,
    *,
    resume: bool = False,
    force: bool = False,
    extra: Mapping[str, Path] | None = None,
    inputs: Mapping[str, str] | None = None,
    report: Report | None = None,
) -> SftResult:
    """Train a policy's words on examples and write the run into a folder; `run_folder` says which files.

    `resume` goes on at the latest checkpoint to the same numbers as an uninterrupted run (bit-equal on
    CPU with the same number of threads). `extra` files are copied beside the policy; `report` is called
    after every step with its row, the steps in all and the samples drawn. Raises ConfigError for a folder in
    use and a validation set that cannot tell the best weights, TrainingError for a loss that is not finite.
    """
    accelerator = make_accelerator(device=settings.device, mixed_precision=settings.optimizer.mixed_precision)
    lessons = make_lessons(policy, train, settings)
    checked = lessons.encode([each for each in validation if each.kept][: settings.validation.rows])
    told = any(row.tokens for row in checked)  # the mean over nothing would be 0, and the best there is
    if not told and settings.export == "best":
        raise ConfigError(
            "no row of the validation set passed the filter, so the best weights cannot be told; curate with "
            "a larger sets.validation or a looser filter, or take the last weights: export=last"
        )
    if accelerator.is_main_process:
        open_run(folder, settings, seed=settings.seed, resume=resume, force=force, inputs=inputs)
    accelerator.wait_for_everyone()
    run = _Run(accelerator, policy, settings, folder, extra)
    for step in range(run.first, settings.optimizer.steps):
        row = run.learn(step, lessons.rows(step))
        samples: list[dict[str, Any]] = []
        if _due(settings.validation.interval, row["step"], settings):
            samples = run.validate(row, checked if told else [], validation)
        if run.logs is not None:
            run.logs.write(row)
        if _due(settings.checkpoints.interval, row["step"], settings):
            run.save(row["step"])
        if report is not None and accelerator.is_main_process:
            report({**row, "steps": settings.optimizer.steps, "samples": samples})
    return run.finish()


class _Run:
    """A training of stage 1 at one step: what is trained, the best so far, and where it is written."""

    def __init__(
        self,
        accelerator: Any,
        policy: Policy,
        settings: SftSettings,
        folder: Path,
        extra: Mapping[str, Path] | None,
    ) -> None:
        """Make everything ready for the first step that is not done."""
        self.accelerator, self.policy, self.settings = accelerator, policy, settings
        self.folder, self.extra = folder, extra
        freeze_heads(policy)
        if settings.optimizer.gradient_checkpointing:
            policy.model.trunk.gradient_checkpointing_enable()
        optimizer = make_optimizer(policy.model, settings.optimizer)
        self.trained = {"policy": Trained(policy.model, optimizer)}
        self.model, self.optimizer = accelerator.prepare(policy.model, optimizer)
        self.checkpoints = Checkpoints(folder / "checkpoints", keep=settings.checkpoints.keep)
        self.first, self.best = 0, {"step": 0, "loss": math.inf}
        if self.checkpoints.steps():
            self.first, state = self.checkpoints.load(self.trained)
            with self.checkpoints.putting_back():
                self.best = best_so_far(state, "loss")
                restore_scaler(accelerator, state["scaler"])
        self.logs = _Logs(folder, settings, self.first) if accelerator.is_main_process else None

    def learn(self, step: int, rows: Sequence[EncodedExample]) -> dict[str, Any]:
        """Do one step and return what is logged of it; raises TrainingError for a loss that is not finite."""
        started, settings = time.perf_counter(), self.settings
        seed_step(settings.seed, step, self.accelerator.process_index)
        rate = learning_rate(settings.optimizer, step)
        set_learning_rate(self.optimizer, rate)
        vocabulary = self.policy.vocabulary
        loss, norm = sft_step(self.accelerator, self.model, vocabulary, self.optimizer, rows, settings)
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss of step {step + 1} is {loss}; {self.checkpoints.describe_last()}. Lower "
                "optimizer.learning_rate, or look for a broken row in the data"
            )
        row: dict[str, Any] = {"step": step + 1, "loss": loss, "grad_norm": norm, "learning_rate": rate}
        row["rows_per_second"] = len(rows) / (time.perf_counter() - started)
        return row

    def validate(
        self, row: dict[str, Any], checked: Sequence[EncodedExample], validation: Sequence[Example]
    ) -> list[dict[str, Any]]:
        """Write the validation loss into the step's `row`, keep the best weights, and return samples."""
        if checked:
            row["validation_loss"] = validation_loss(
                self.accelerator, self.model, self.policy.vocabulary, checked, self.settings
            )
        if row.get("validation_loss", math.inf) < self.best["loss"]:
            self.best = {"step": row["step"], "loss": row["validation_loss"]}
            save_policy(self.accelerator, self.policy, self.folder / "best", self.extra)
        return [] if self.logs is None else self.logs.write_samples(row["step"], self.policy, validation)

    def save(self, step: int) -> None:
        """Write a checkpoint."""
        if self.accelerator.is_main_process:
            state = {"best": self.best, "scaler": scaler_state(self.accelerator)}
            self.checkpoints.save(step, self.trained, state)
        self.accelerator.wait_for_everyone()

    def finish(self) -> SftResult:
        """Close the logs and write the policy out."""
        if self.logs is not None:
            self.logs.close()
        export_policy(self.accelerator, self.policy, self.folder, self.settings.export, self.extra)
        steps = self.settings.optimizer.steps
        return SftResult(self.folder, steps, int(self.best["step"]), float(self.best["loss"]))


def _due(interval: int, done: int, settings: SftSettings) -> bool:
    """Whether what is done every `interval` steps, and at the end, is done now."""
    return done % interval == 0 or done == settings.optimizer.steps


def sft_step(
    accelerator: Any,
    model: nn.Module,
    vocabulary: Vocabulary,
    optimizer: Any,
    rows: Sequence[EncodedExample],
    settings: SftSettings,
) -> tuple[float, float]:
    """One optimiser step over rows, in passes of micro_batch_size; returns loss and gradient norm.

    The sum over all rows is divided by the tokens of all rows, so passes and processes change nothing
    but rounding. The norm is that before clipping; gradients stay in place until the next step.
    """
    model.train()
    optimizer.zero_grad()
    tokens = max(1, sum(len(row.tokens) for row in rows))
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    size = settings.optimizer.micro_batch_size
    total = torch.zeros((), device=accelerator.device)
    for start in range(0, len(mine), size):
        with _syncing(accelerator, model, last=start + size >= len(mine)):
            loss = negative_logprob(model, vocabulary, mine[start : start + size]) / tokens
            # Processes average their gradients; each holds its share of one sum.
            accelerator.backward(loss * accelerator.num_processes)
        total += loss.detach()
    norm = accelerator.clip_grad_norm_(model.parameters(), settings.optimizer.max_grad_norm)
    optimizer.step()
    return float(accelerator.reduce(total, reduction="sum")), float(norm)


def negative_logprob(model: nn.Module, vocabulary: Vocabulary, rows: Sequence[EncodedExample]) -> Tensor:
    """Minus the log-probability of everything the rows teach, summed: a scalar."""
    trajectory = collate(vocabulary, rows, next(model.parameters()).device)
    return -compute_logprobs(model, vocabulary, trajectory).text.sum()


@torch.no_grad()
def validation_loss(
    accelerator: Any,
    model: nn.Module,
    vocabulary: Vocabulary,
    rows: Sequence[EncodedExample],
    settings: SftSettings,
) -> float:
    """Mean negative log-probability per token over rows, without dropout."""
    model.eval()
    mine = rows[accelerator.process_index :: accelerator.num_processes]
    size = settings.optimizer.micro_batch_size
    total = torch.zeros((), dtype=torch.float64, device=accelerator.device)
    for start in range(0, len(mine), size):
        total += negative_logprob(model, vocabulary, mine[start : start + size]).double()
    tokens = max(1, sum(len(row.tokens) for row in rows))
    return float(accelerator.reduce(total, reduction="sum")) / tokens


def make_lessons(policy: Policy, train: Sequence[Example], settings: SftSettings) -> SftBatches:
    """The rows of every step of a run; raises ConfigError for full stops the policy does not part at."""
    data = settings.data
    if data.full_stop_share and "." not in policy.model.config.separators:
        raise ConfigError('data.full_stop_share needs "." among model.separators')
    return SftBatches(
        policy.vocabulary,
        train,
        batch_size=settings.optimizer.batch_size,
        rejected_share=data.rejected_share,
        max_new_tokens=data.max_new_tokens,
        context_size=policy.model.config.context_size,
        wording=Wording(data.capitalized_share, data.full_stop_share),
        seed=settings.seed,
    )


def freeze_heads(policy: Policy) -> None:
    """Leave both heads out of training: stage 1 has no labels for them, and noise is no label."""
    for name, parameter in policy.model.named_parameters():
        if name.startswith(("range_head.", "weight_head.")):
            parameter.requires_grad_(False)


class _Logs:
    """metrics.jsonl and samples.jsonl of a run."""

    def __init__(self, folder: Path, settings: SftSettings, resume_at: int) -> None:
        self.settings = settings
        board = folder / "tensorboard" if settings.logging.tensorboard else None
        self.metrics = MetricsLog(folder / "metrics.jsonl", resume_at=resume_at, tensorboard=board)
        self.samples = MetricsLog(folder / "samples.jsonl", resume_at=resume_at)

    def write(self, row: Mapping[str, Any]) -> None:
        if row["step"] % self.settings.logging.interval == 0 or "validation_loss" in row:
            self.metrics.write(row)

    def write_samples(self, step: int, policy: Policy, validation: Sequence[Example]) -> list[dict[str, Any]]:
        shorts = list(dict.fromkeys(each.short for each in validation))[: self.settings.validation.samples]
        if not shorts:
            return []
        drawn = SamplingSettings(max_new_tokens=self.settings.data.max_new_tokens)
        seeds = [self.settings.seed] * len(shorts)
        rows = [{"step": step, **rewrite.to_json()} for rewrite in policy.rewrite(shorts, seeds, drawn)]
        for row in rows:
            self.samples.write(row)
        return rows

    def close(self) -> None:
        self.metrics.close()
        self.samples.close()


def _syncing(accelerator: Any, model: nn.Module, last: bool) -> AbstractContextManager[Any]:
    return nullcontext() if last else accelerator.no_sync(model)
