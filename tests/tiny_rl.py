"""A toy for stage 2 with a known optimum: no pictures, only the first modifier and its controls count."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dfprompt.executor import LocalExecutor
from dfprompt.policy import Policy, load_policy_folder
from dfprompt.prompt import EffectRange, Weight
from dfprompt.prompt.effect import EARLY, LATE
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings
from dfprompt.training.rollout import Attempt, Task, draws_for, roll_out
from dfprompt.training.sft import train_sft
from tiny_training import SUBJECTS, fresh_policy, tiny_examples, tiny_settings

# What each prompt wants: so both heads have to read the words, their biases alone do not do.
# Stage 1 says each of these words in about every third row, and other words as often.
WANTED: dict[str, tuple[str, EffectRange, Weight]] = {
    "a red cat": ("golden hour", LATE, Weight("1.25")),
    "the blue star": ("oil painting", EARLY, Weight("0.75")),
    "a cat at night": ("oil painting", LATE, Weight("1.25")),
    "a hill in the snow": ("8k", EARLY, Weight("0.75")),
}
TASKS = [Task(subject) for subject in SUBJECTS]
PARTS = ("word", "range", "weight")


def toy_reward(attempts: Sequence[Attempt]) -> RewardTerms:
    """One point each for word, range and weight of the first modifier; 3 at best."""
    rows = []
    for attempt in attempts:
        word, effect_range, weight = WANTED[attempt.rewrite.plain]
        span = attempt.rewrite.modifiers[0] if attempt.rewrite.modifiers else None
        hits = (span.text == word, span.effect_range == effect_range, span.weight == weight) if span else ()
        rows.append([float(hit) for hit in hits] or [0.0] * 3)
    table = torch.tensor(rows)
    return RewardTerms(table.sum(1), {}, {name: table[:, at] for at, name in enumerate(PARTS)}, {})


@functools.cache
def stage_one_folder() -> Path:
    """The policy of a short stage 1, made once per session."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-stage-one-"))
    settings = tiny_settings(steps=250, batch_size=8)
    train_sft(
        fresh_policy(), tiny_examples(), [], settings.model_copy(update={"export": "last"}), folder / "run"
    )
    return folder / "run" / "policy"


def stage_one() -> Policy:
    """A fresh copy of it, heads as they start."""
    policy = load_policy_folder(stage_one_folder())
    with torch.no_grad():
        for head, start in (("range_head", "range_start"), ("weight_head", "weight_start")):
            layer = getattr(policy.model, head)
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor(getattr(policy.model.config, start)).log())
    return policy


def toy_values(**more: Any) -> dict[str, Any]:
    """A recipe of the toy as plain values, `more` on top of its sections."""
    values: dict[str, Any] = {
        "seed": 1,
        "device": "cpu",
        "export": "last",
        "rollout": {"rows": 32, "max_new_tokens": 12, "max_modifiers": 1, "batch_size": 16},
        "optimizer": {
            "steps": 80,
            "batch_size": 16,
            "micro_batch_size": 16,
            "learning_rate": 2e-3,
            "schedule": "linear",
        },
        "surrogate": {"epochs": 2},
        # Near stage 1 until it is clear which word earned the reward, and not which one came with luck.
        "kl": {"text": 0.1, "range": 0.01, "weight": 0.01},
        "validation": {"interval": 1000, "rows": 4, "samples": 2},
        "checkpoints": {"interval": 1000},
    }
    for name, section in more.items():
        values[name] = {**values.get(name, {}), **section} if isinstance(section, dict) else section
    return values


def ppo_settings(**more: Any) -> PpoSettings:
    """The toy by PPO."""
    return PpoSettings.model_validate(toy_values(**{"value": {"learning_rate": 2e-3}, **more}))


def grpo_settings(**more: Any) -> GrpoSettings:
    """The toy by GRPO."""
    return GrpoSettings.model_validate(toy_values(**{"group": {"size": 8}, **more}))


def measure(policy: Policy, rows: int = 256) -> dict[str, float]:
    """The share of the optimum each head reaches, drawn as in training, on numbers no training saw."""
    tasks = [TASKS[at % len(TASKS)] for at in range(rows)]
    found = roll_out(
        policy, draws_for(tasks, 1, [99, 5]), toy_reward, LocalExecutor(), ppo_settings().rollout
    )
    return {name: float(values.mean()) for name, values in found.terms.terms.items()}
