"""The recipe of stage 1: supervised fine-tuning on filtered prompts."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dfprompt.config import Config
from dfprompt.training.settings import (
    CheckpointSettings,
    LoggingSettings,
    ModelSettings,
    OptimizerSettings,
    PolicySettings,
)


class SftDataSettings(Config):
    """Which prompts, and how they become rows."""

    folder: str = ""
    """The folder `dfprompt curate` wrote: train.jsonl, validation.jsonl."""
    rejected_share: float = Field(default=0.1, ge=0, lt=1)
    """Share of rows made of prompts that failed the filter, which train to end at once."""
    max_new_tokens: int = Field(default=60, ge=2)
    """Most tokens of modifiers per row; whole modifiers beyond it are left out."""
    capitalized_share: float = Field(default=0.0, ge=0, le=1)
    """Share of rows whose short prompt and modifiers begin with a capital (the paper: 0.5)."""
    full_stop_share: float = Field(default=0.0, ge=0, le=1)
    """Share of separators that are full stops (the paper: 0.5); needs "." in model.separators."""


class ValidationSettings(Config):
    """What is measured while training."""

    interval: int = Field(default=100, ge=1)
    """Steps between validations; one is also done at the end."""
    rows: int = Field(default=512, ge=1)
    """Most validation rows measured each time, always the same ones."""
    samples: int = Field(default=4, ge=0)
    """Validation prompts rewritten each time, with the same seeds, into samples.jsonl."""


class SftSettings(Config):
    """Everything a stage 1 run depends on."""

    seed: int = Field(default=0, ge=0)
    """The one seed: order of rows, dropout, samples."""
    device: Literal["auto", "cpu"] = "auto"
    """auto takes the GPU if there is one; several processes come from torchrun or accelerate launch."""
    export: Literal["best", "last"] = "best"
    """Which weights become the policy: those of the lowest validation loss, or the last ones."""
    model: ModelSettings = ModelSettings()
    """What is trained."""
    data: SftDataSettings = SftDataSettings()
    """What it is trained on."""
    optimizer: OptimizerSettings = OptimizerSettings()
    """How it is trained."""
    validation: ValidationSettings = ValidationSettings()
    """What is measured meanwhile."""
    checkpoints: CheckpointSettings = CheckpointSettings()
    """When it is saved."""
    logging: LoggingSettings = LoggingSettings()
    """What is written down."""
    policy: PolicySettings = PolicySettings()
    """What comes out."""
