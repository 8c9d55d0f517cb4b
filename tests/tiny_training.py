"""Tiny stage 1 runs: a few dozen rows, a random policy, everything in a second or two."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from dfprompt.policy import Policy, TokenBudget
from dfprompt.training.examples import Example
from dfprompt.training.sft_settings import SftSettings
from tiny_policies import tiny_model, tiny_tokenizer

MODIFIERS = ("golden hour", "film grain", "oil painting", "close-up", "8k", "soft glow", "bokeh")
SUBJECTS = ("a red cat", "the blue star", "a cat at night", "a hill in the snow")


def tiny_examples(count: int = 40) -> list[Example]:
    """Rows in which each subject has its own favourite modifiers; some failed the filter."""
    rows = []
    for number in range(count):
        subject = number % len(SUBJECTS)
        first = MODIFIERS[(subject + number // 4 % 2) % len(MODIFIERS)]
        second = MODIFIERS[(subject + 3) % len(MODIFIERS)]
        modifiers = (first, second) if number % 3 else (first,)
        rows.append(Example(SUBJECTS[subject], modifiers, kept=number % 5 != 0))
    return rows


def tiny_settings(**optimizer: Any) -> SftSettings:
    """Twelve steps, a checkpoint every third, a validation every fourth; no more of either for more steps."""
    steps = optimizer.get("steps", 12)
    return SftSettings.model_validate(
        {
            "seed": 5,
            "device": "cpu",
            "optimizer": {
                "steps": 12,
                "batch_size": 8,
                "micro_batch_size": 8,
                "learning_rate": 3e-3,
                "warmup_steps": 2,
                **optimizer,
            },
            "data": {"max_new_tokens": 24},
            "validation": {"interval": max(4, steps // 3), "samples": 2},
            "checkpoints": {"interval": max(3, steps // 4)},
            "logging": {"interval": 1},
        }
    )


def fresh_policy(seed: int = 0, control: str = "phrase") -> Policy:
    """An untrained policy; the same for the same seed."""
    budget = TokenBudget(75, (tiny_tokenizer(),))
    return Policy(tiny_model(control, seed=seed), tiny_tokenizer(), budget=budget, name="tiny")


def weights(folder: Path) -> bytes:
    """The bytes of a saved policy's weights."""
    return (folder / "model.safetensors").read_bytes()


def gradient_norm(parameters: Iterable[torch.nn.Parameter]) -> float:
    """The norm of all gradients together."""
    squares = [each.grad.float().pow(2).sum() for each in parameters if each.grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0
