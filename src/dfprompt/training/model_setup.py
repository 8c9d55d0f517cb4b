"""Making a model ready to train: low-rank layers, dropout, recomputed activations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from dfprompt.errors import ConfigError
from dfprompt.policy import PolicyModel
from dfprompt.policy.configuration import POLICY_FIELDS
from dfprompt.policy.lora import add_lora
from dfprompt.policy.tastes import check_names
from dfprompt.training.settings import ModelSettings


def policy_fields(settings: ModelSettings) -> dict[str, Any]:
    """The recipe's part of a PolicyConfig, for the heads of a plain language model."""
    named = settings.model_dump(mode="json")
    return {name: named[name] for name in POLICY_FIELDS if name in named}


def set_up_model(
    model: PolicyModel,
    settings: ModelSettings,
    *,
    seed: int,
    base: Path | None = None,
    tastes: Sequence[str] = (),
) -> PolicyModel:
    """Change a loaded model as the recipe says, in place; low-rank layers start from the seed.

    `tastes` are given to a model that has none.
    Raises ConfigError where the model is a policy with other tables or another control than the
    recipe: what it has learnt would not be what the recipe says.
    """
    wanted = policy_fields(settings)
    for name, value in wanted.items():
        here = getattr(model.config, name)
        here = list(here) if isinstance(here, list | tuple) else here
        if name not in ("range_start", "weight_start") and here != value:
            raise ConfigError(
                f"model.{name} is {value} in the recipe, and the base policy has {here}; "
                "take the policy's own, or a plain language model as base"
            )
    if tastes and not model.config.tastes:
        model.add_tastes(check_names(tastes))
    if settings.dropout is not None:
        set_dropout(model, settings.dropout)
    if settings.lora.rank:
        torch.manual_seed(seed)
        add_lora(
            model,
            rank=settings.lora.rank,
            alpha=settings.lora.alpha,
            dropout=settings.lora.dropout,
            target_modules=settings.lora.target_modules,
            base=base,
        )
    return model


def set_dropout(model: nn.Module, share: float) -> None:
    """Give every dropout layer of a model the same share."""
    for layer in model.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = share
        elif isinstance(getattr(layer, "attention_dropout", None), float):
            layer.attention_dropout = share  # attention without a layer of its own, as in Llama
