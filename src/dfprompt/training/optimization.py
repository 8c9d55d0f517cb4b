"""The optimiser of every training: AdamW in two groups, its rate a function of the step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from dfprompt.errors import ConfigError
from dfprompt.policy.modeling import HEADS, TASTES
from dfprompt.training.settings import OptimizerSettings

_RATE = "rate"  # of a group, in the schedule's rate


def make_optimizer(
    model: nn.Module, settings: OptimizerSettings, *, heads_rate: float = 1.0
) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; only matrices decay. Raises ConfigError if nothing trains.

    `heads_rate` is the learning rate of range and weight head and of tastes, which all begin from nothing,
    in that of everything else.
    """
    named = [(name, each) for name, each in model.named_parameters() if each.requires_grad]
    if not named:
        raise ConfigError("every parameter of the model is frozen; there is nothing to train")
    apart = heads_rate != 1.0
    groups = [
        {
            "params": [
                each
                for name, each in named
                if (apart and _is_new(name)) == heads and (each.ndim >= 2) == matrix
            ],
            "weight_decay": settings.weight_decay if matrix else 0.0,
            _RATE: heads_rate if heads else 1.0,
        }
        for heads in (False, True)
        for matrix in (True, False)
    ]
    return torch.optim.AdamW(
        [group for group in groups if group["params"]],
        lr=settings.learning_rate,
        betas=settings.betas,
    )


def learning_rate(settings: OptimizerSettings, step: int) -> float:
    """The learning rate of a step, counted from 0: linear warm-up, then the schedule.

    >>> settings = OptimizerSettings(steps=100, learning_rate=1.0, warmup_steps=10, schedule="linear")
    >>> [round(learning_rate(settings, step), 3) for step in (0, 9, 10, 55, 100)]
    [0.1, 1.0, 1.0, 0.5, 0.0]
    """
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = min(1.0, (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps))
    left = {"constant": 1.0, "linear": 1 - done, "cosine": 0.5 * (1 + math.cos(math.pi * done))}
    last = 1.0 if settings.schedule == "constant" else settings.final_learning_rate
    return settings.learning_rate * (last + (1 - last) * left[settings.schedule])


def set_learning_rate(optimizer: Any, rate: float) -> None:
    """Give every group of an optimiser the learning rate, the heads' in their multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(_RATE, 1.0)


def _is_new(name: str) -> bool:
    return is_head(name) or TASTES in name.split(".")


def is_head(name: str) -> bool:
    """Whether a parameter of this name belongs to the range or the weight head."""
    return any(part in HEADS for part in name.split("."))
