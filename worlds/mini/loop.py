"""One training loop for every stage of the build: deterministic, resumable after a kill, no hidden state.

What a step sees depends on (seed, stage, step) alone, so a resumed run only needs the weights, the
averaged weights and the optimiser's moments: exactly what a checkpoint holds, as safetensors.
"""

from __future__ import annotations

import json
import math
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from dfprompt.errors import LoadError, TrainingError
from dfprompt.storage import save_tensors
from worlds.mini.optimizers import Steps

StepLoss = Callable[[nn.Module, "StepRandom"], tuple[Tensor, dict[str, float]]]
Report = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class StageConfig:
    """How long and how fast one stage trains."""

    steps: int
    batch: int
    lr: float
    warmup: int = 100
    weight_decay: float = 0.0
    ema: float = 0.999  # decay of the averaged weights, which are what is shipped; 0 ships the last ones
    checkpoint_every: int = 250
    clip: float = 1.0  # gradient norm
    muon: bool = False  # Muon for the matrices, AdamW for the rest
    bfloat16: bool = False  # products in bfloat16 where the device is fast at them; the denoiser alone


@dataclass(frozen=True)
class StepRandom:
    """The randomness of one step: numpy for data, torch for noise; both from (seed, stage, step)."""

    numpy: np.random.Generator
    torch: torch.Generator


def step_random(seed: int, stage: str, step: int) -> StepRandom:
    """The random generators of one step.

    >>> int(step_random(1, "vae", 5).numpy.integers(100)) == int(step_random(1, "vae", 5).numpy.integers(100))
    True
    """
    key = [seed, zlib.crc32(stage.encode()), step]
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    return StepRandom(np.random.default_rng(key), generator)


@contextmanager
def vanishing_values_are_zero() -> Iterator[None]:
    """Flush denormal numbers, and put the processor back as it was: other code in the process may need them.

    Without it, values that vanish fall into a slow path of the processor and cost tenfold.
    """
    before = bool(torch.tensor(1e-40) * 0.5 == 0)
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def device_of(module: nn.Module) -> torch.device:
    """Where a module's weights are."""
    return next(module.parameters()).device


def learning_rate(config: StageConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to a hundredth."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0))))


class Trainer:
    """Trains one module; `loss(module, random)` makes a step's loss and what to log of it."""

    def __init__(
        self,
        stage: str,
        module: nn.Module,
        config: StageConfig,
        folder: Path,
        *,
        seed: int,
        report: Report | None = None,
    ) -> None:
        self.stage, self.module, self.config, self.seed = stage, module, config, seed
        self.path = folder / f"{stage}.checkpoint.safetensors"
        self.log = folder / f"{stage}.jsonl"
        self.report = report
        self.named = {n: p for n, p in module.named_parameters() if p.requires_grad}
        self.optimizer = Steps(self.named, lr=config.lr, weight_decay=config.weight_decay, muon=config.muon)
        self.average = {n: p.detach().clone() for n, p in self.named.items()}
        self.step = 0

    def run(self, loss: StepLoss) -> nn.Module:
        """Train to the last step, from a checkpoint if one stands; the module ends with averaged weights."""
        self._resume()
        self.module.train()
        started, first = time.monotonic(), self.step
        while self.step < self.config.steps:
            self.optimizer.set_rate(learning_rate(self.config, self.step))
            value, logged = loss(self.module, step_random(self.seed, self.stage, self.step))
            if not torch.isfinite(value):
                kept = f"; a checkpoint before it is kept as {self.path.name}" if self.path.exists() else ""
                raise TrainingError(
                    f"stage {self.stage}: the loss is {value.item()} at step {self.step}{kept}. Build in "
                    "another folder with another --seed or --budget."
                )
            value.backward()
            nn.utils.clip_grad_norm_(list(self.named.values()), self.config.clip)
            self.optimizer.take()
            self._average()
            self.step += 1
            if self.step % 50 == 0 or self.step == self.config.steps:
                speed = (self.step - first) * self.config.batch / (time.monotonic() - started)
                self._log(
                    {"step": self.step, "loss": value.item(), **logged, "samples_per_s": round(speed, 1)}
                )
            if self.step % self.config.checkpoint_every == 0 or self.step == self.config.steps:
                self.save()
        with torch.no_grad():
            for name, parameter in self.named.items():
                parameter.copy_(self.average[name])
        return self.module.eval()

    def _average(self) -> None:
        # The early average would remember the random start; ramp the decay as the run grows.
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.values()), list(self.named.values()), 1 - decay)

    def _log(self, row: dict[str, float]) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.report is not None:
            self.report(self.stage, self.step, self.config.steps, row)

    def save(self) -> None:
        """Write the checkpoint whole or not at all."""
        tensors = {f"module.{n}": p.detach() for n, p in self.module.state_dict().items()}
        tensors |= {f"average.{n}": p for n, p in self.average.items()}
        tensors |= self.optimizer.moments()
        whole = {name: tensor.cpu().contiguous().clone() for name, tensor in tensors.items()}
        save_tensors(whole, self.path, {"step": str(self.step)})

    def _resume(self) -> None:
        if not self.path.exists():
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.write_text("")
            return
        try:
            with safe_open(self.path, "pt") as file:
                self.step = int((file.metadata() or {})["step"])
            self._take(load_file(self.path))
        except (OSError, KeyError, RuntimeError, ValueError, SafetensorError) as error:
            raise LoadError(
                f"the checkpoint {self.path.name} of stage {self.stage} cannot be read ({error}); "
                "delete it to train the stage anew."
            ) from error
        self._cut_log()

    def _take(self, tensors: dict[str, Tensor]) -> None:
        """Put a checkpoint's tensors where they belong: weights, averages, the optimiser's moments."""
        self.module.load_state_dict({k[7:]: v for k, v in tensors.items() if k.startswith("module.")})
        for name, parameter in self.named.items():
            self.average[name] = tensors[f"average.{name}"].clone().to(parameter.device)
        self.optimizer.restore(tensors)

    def _cut_log(self) -> None:
        """Drop metric rows written after the checkpoint: those steps are about to be run again."""
        if self.log.exists():
            rows = [line for line in self.log.read_text().splitlines() if line.endswith("}")]
            kept = [line for line in rows if json.loads(line)["step"] <= self.step]
            self.log.write_text("".join(line + "\n" for line in kept))
