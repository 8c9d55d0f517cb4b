"""What every training is told: how it optimises, when it saves, what it logs."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from dfprompt.config import Config
from dfprompt.policy.tables import RANGE_START, RANGES, WEIGHT_START, WEIGHTS


class LoraSettings(Config):
    """Low-rank layers in the trunk's attention, for trunks too large to train whole."""

    rank: int = Field(default=0, ge=0)
    """Rank of the layers; 0 trains the whole trunk."""
    alpha: float = Field(default=32.0, gt=0)
    """Scale of the layers, divided by the rank (LoRA, arXiv 2106.09685)."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the layers."""
    target_modules: tuple[str, ...] = ()
    """Names of the layers to adapt; by default the attention's query, key and value."""


class ModelSettings(Config):
    """What is trained: a trunk, its heads and their tables."""

    base: str = "mini"
    """A policy or any causal language model: "mini", a folder, a hub id."""
    control: Literal["phrase", "token"] = "phrase"
    """One control per phrase after its last word, or the paper's draw per token with a majority vote."""
    ranges: tuple[str, ...] = RANGES
    """Effect ranges the range head chooses from, by word or as 1->0.85; must hold full."""
    weights: tuple[float, ...] = WEIGHTS
    """Weights the weight head chooses from, above 0 and at most 10; must hold 1."""
    range_start: tuple[float, ...] = RANGE_START
    """Probabilities the range head starts with."""
    weight_start: tuple[float, ...] = WEIGHT_START
    """Probabilities the weight head starts with; the paper's are .001 .157 .684 .157 .001."""
    separators: tuple[str, ...] = (",",)
    """What closes a phrase, of comma, full stop and semicolon; the paper takes the first two."""
    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Dropout of the trunk while training; by default its own."""
    lora: LoraSettings = LoraSettings()
    """Low-rank adaptation of the trunk."""


class OptimizerSettings(Config):
    """AdamW, its schedule and its batches."""

    steps: int = Field(default=1000, ge=1)
    """Optimiser steps in all."""
    batch_size: int = Field(default=64, ge=1)
    """Rows per optimiser step, over all processes (the paper: 64)."""
    micro_batch_size: int = Field(default=64, ge=1)
    """Rows per pass; smaller ones need less memory and give the same step."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak learning rate (the paper: 5e-5)."""
    schedule: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warm-up."""
    final_learning_rate: float = Field(default=0.0, ge=0)
    """Learning rate at the last step, as a share of the peak; without effect on a constant schedule."""
    warmup_steps: int = Field(default=0, ge=0)
    """Steps over which the learning rate rises linearly from 0."""
    weight_decay: float = Field(default=0.0, ge=0)
    """Decoupled weight decay of matrices; biases and norms have none."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's decay rates; the published code runs with (0.9, 0.9) by mistake."""
    max_grad_norm: float = Field(default=1.0, gt=0)
    """Gradients of a step are scaled down to this norm."""
    mixed_precision: Literal["no", "bf16", "fp16"] = "no"
    """Precision of the passes; weights and optimiser stay in single precision."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""

    @model_validator(mode="after")
    def _check(self) -> OptimizerSettings:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError("betas must lie in 0..1, 1 excluded")
        if self.warmup_steps > self.steps:
            raise ValueError("warmup_steps is more than steps")
        return self


class CheckpointSettings(Config):
    """When a training saves what it needs to go on."""

    interval: int = Field(default=100, ge=1)
    """Steps between checkpoints; one is also written at the end."""
    keep: int = Field(default=2, ge=1)
    """How many of the latest checkpoints stay."""


class LoggingSettings(Config):
    """What a training writes down."""

    interval: int = Field(default=10, ge=1)
    """Steps between rows of metrics.jsonl."""
    tensorboard: bool = False
    """Also write TensorBoard events into the folder tensorboard."""


class PolicySettings(Config):
    """What is written beside the trained policy."""

    name: str = "policy"
    """Name of the policy in recipes and tables."""
    prompt_tokens: int = Field(default=75, ge=1)
    """Most tokens of a whole prompt, as the target pipeline counts; CLIP's window is 75."""
    tokenizer: str = ""
    """Where the target pipeline's tokenizer is: "mini", a folder, a pipeline folder; else the trunk's own."""
