"""Heads that read states less their mean while they train, so that what one phrase teaches stays with it.

States behind phrases have a large part in common (mini: three quarters of what a head learns on one modifier
moves the control of every other one as much). Less their mean, a head's matrix learns what differs and its
bias what is common. The function is the same: saving takes the mean back into the bias.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from dfprompt.policy.modeling import HEADS

_MEAN = "_dfprompt_mean"


@torch.no_grad()
def centre_heads(model: nn.Module, mean: Tensor) -> None:
    """Let both heads read states less `mean` (D,), at the outputs they have."""
    subtract_mean(model, mean)
    for head in _centred(model):
        head.bias.add_(head.weight @ getattr(head, _MEAN))


def subtract_mean(model: nn.Module, mean: Tensor) -> None:
    """Let both heads read states less `mean` (D,), their biases being for that: those of a checkpoint."""
    for name in HEADS:
        head = getattr(model, name)
        if not hasattr(head, _MEAN):
            head.register_forward_pre_hook(_subtract)
        setattr(head, _MEAN, mean.to(head.weight))


def mean_of(model: nn.Module) -> Tensor | None:
    """The mean (D,) that the heads subtract; None where they read states as they come."""
    for head in _centred(model):
        return Tensor(getattr(head, _MEAN))
    return None


@contextmanager
def as_saved(model: nn.Module) -> Iterator[None]:
    """The heads' biases as they are on states as they come, for as long as they are written."""
    heads = _centred(model)
    kept = [head.bias.detach().clone() for head in heads]
    with torch.no_grad():
        for head in heads:
            head.bias.sub_(head.weight @ getattr(head, _MEAN))
    try:
        yield
    finally:
        with torch.no_grad():
            for head, bias in zip(heads, kept, strict=True):
                head.bias.copy_(bias)


def _centred(model: nn.Module) -> list[Any]:
    heads = [getattr(model, name, None) for name in HEADS]
    return [head for head in heads if hasattr(head, _MEAN)]


def _subtract(head: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (args[0] - getattr(head, _MEAN), *args[1:])
