"""One Accelerator per training: CPU, one GPU or several, by the same loop."""

from __future__ import annotations

import atexit
from typing import Any

import numpy as np
import torch
import torch.distributed
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from dfprompt.errors import ConfigError


def make_accelerator(*, device: str = "auto", mixed_precision: str = "no") -> Accelerator:
    """The accelerator for this process; raises ConfigError for a precision the device cannot do."""
    # Accelerate keeps one state per process and refuses another precision; trainings in one process
    # come one after another.
    AcceleratorState._reset_state(reset_partial_state=False)
    try:
        accelerator = Accelerator(cpu=device == "cpu", mixed_precision=mixed_precision)
    except ValueError as error:
        raise ConfigError(f"mixed_precision {mixed_precision!r} does not work here: {error}") from error
    atexit.unregister(_leave_group)
    atexit.register(_leave_group)
    return accelerator


def _leave_group() -> None:
    """Leave the other processes in good order: a group whose threads are still at work aborts this one."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def seed_step(seed: int, step: int, process: int) -> None:
    """Seed torch for one step of one process, so that dropout is a function of (seed, step, process)."""
    state = np.random.SeedSequence([seed, step, process]).generate_state(2, np.uint32)
    torch.manual_seed(int(state[0]) << 31 | int(state[1]) >> 1)


def scaler_state(accelerator: Accelerator) -> dict[str, Any] | None:
    """The state of fp16's loss scaler; None where there is none."""
    return None if accelerator.scaler is None else dict(accelerator.scaler.state_dict())


def restore_scaler(accelerator: Accelerator, state: dict[str, Any] | None) -> None:
    """Put back what `scaler_state` gave."""
    if accelerator.scaler is not None and state:
        accelerator.scaler.load_state_dict(state)
