"""How much better a draw was than expected: pure functions on tensors, masks always given.

Shapes: B rows, T tokens, N prompts, G rewrites per prompt. A mask (B, T) is true where a token was drawn;
what stands elsewhere is never read and comes out as 0.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

_SMALLEST_SPREAD = 1e-8


class Estimates(NamedTuple):
    """Advantages and the returns a value model should have predicted, both (B, T), 0 outside the mask."""

    advantages: Tensor
    returns: Tensor


def rewards_at_end(rewards: Tensor, mask: Tensor) -> Tensor:
    """Rewards (B,) as rewards of tokens (B, T): all of it at each row's last token.

    >>> rewards_at_end(torch.tensor([2.0]), torch.tensor([[True, True, False]]))
    tensor([[0., 2., 0.]])
    """
    last = mask & (mask.flip(1).cumsum(1).flip(1) == 1)
    return torch.where(last, rewards[:, None].to(torch.float32), 0.0)


def generalized_advantages(
    rewards: Tensor, values: Tensor, mask: Tensor, *, discount: float = 1.0, decay: float = 1.0
) -> Estimates:
    """Generalized advantage estimation (Schulman et al. 2016, arXiv 1506.02438, equation 16).

    rewards, values, mask (B, T); the mask of a row is true from its first token to its last, and behind the
    last one nothing follows: its value is 0. `discount` is gamma, `decay` is lambda.

    >>> mask = torch.ones(1, 2, dtype=torch.bool)
    >>> generalized_advantages(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.25]]), mask).advantages
    tensor([[0.5000, 0.7500]])
    """
    rewards, values = (torch.where(mask, each, 0.0) for each in (rewards, values))
    follows = torch.zeros_like(values)
    follows[:, :-1] = values[:, 1:]  # 0 behind a row's end, because values are 0 outside the mask
    surprises = rewards + discount * follows - values
    advantages = torch.zeros_like(values)
    ahead = torch.zeros_like(values[:, 0]) if values.shape[1] else values.sum(1)
    for step in reversed(range(values.shape[1])):
        ahead = surprises[:, step] + discount * decay * ahead  # both 0 behind a row's end
        advantages[:, step] = ahead
    return Estimates(advantages, torch.where(mask, advantages + values, 0.0))


def whiten(values: Tensor, mask: Tensor, *, size: Tensor | None = None) -> Tensor:
    """Values (any shape) shifted and scaled to mean 0 and variance 1 over the mask; 0 outside it.

    Values that are all equal become 0: they say nothing about which draw was better. What counts as equal
    goes by the size of the numbers they were computed from: the largest value, or `size` for differences.

    >>> whiten(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]))
    tensor([-1.,  1.,  0.])
    """
    if not values.numel():
        return torch.zeros_like(values)
    count, inside = mask.sum().clamp_min(1), torch.where(mask, values, 0.0)
    centred = torch.where(mask, values - inside.sum() / count, 0.0)
    largest = inside.abs().max() if size is None else size
    return _scaled(centred, (centred.square().sum() / count).sqrt(), largest)


def group_advantages(rewards: Tensor, plain: Tensor | None = None, *, scale: str = "group") -> Tensor:
    """Advantages (N, G) of G rewrites of each of N prompts over their own group (GRPO, arXiv 2402.03300).

    rewards (N, G); `plain` (N,) are the rewards of the plain prompts on the same noise: they enter mean
    and spread, and have no advantage of their own. `scale` divides by the spread of the "group", of the
    "batch" (all deviations together), or by nothing ("none": no group counts more for being even).

    >>> group_advantages(torch.tensor([[1.0, 3.0]]))
    tensor([[-1.,  1.]])
    >>> group_advantages(torch.tensor([[1.0, 3.0]]), torch.tensor([-1.0]), scale="none")
    tensor([[0., 2.]])
    """
    everyone = rewards if plain is None else torch.cat([rewards, plain[:, None]], dim=1)
    mean = everyone.mean(1, keepdim=True)
    if scale == "none":
        return rewards - mean
    squares = (everyone - mean).square()
    spread = squares.mean(1, keepdim=True).sqrt() if scale == "group" else squares.mean().sqrt()
    return _scaled(rewards - mean, spread, everyone.abs().amax(1, keepdim=True))


def pool_controls(rewards: Tensor, draws: int) -> Tensor:
    """Rewards (B,) as the mean over each rewrite's `draws` rows side by side: what its words earn, (B,).

    >>> pool_controls(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
    tensor([2., 2., 5., 5.])
    """
    return rewards.reshape(-1, draws).mean(1).repeat_interleave(draws)


def compare_controls(rewards: Tensor, draws: int) -> Tensor:
    """Rewards (B,) over the mean of the other rows of the same words and noise: what the controls earn, (B,).

    Leaving the row itself out of its baseline keeps the estimate unbiased (Kool et al. 2019, "Buy 4
    REINFORCE samples, get a baseline for free!"). `draws`, 2 or more, rows of a rewrite lie side by side.

    >>> compare_controls(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
    tensor([-2.,  2.,  0.,  0.])
    """
    return (rewards - pool_controls(rewards, draws)) * (draws / (draws - 1))


def _scaled(deviations: Tensor, spread: Tensor, size: Tensor) -> Tensor:
    """Deviations by their spread; 0 where the spread is rounding of numbers of this size."""
    least = size * torch.finfo(spread.dtype).eps * 4 + _SMALLEST_SPREAD
    return torch.where(spread > least, deviations / spread.clamp_min(_SMALLEST_SPREAD), 0.0)
