"""What heads and words are told of a critic's worths: pure functions on tensors.

Shapes: anything in front (...), R ranges, W weights, C = R x W controls; rows of a batch are B, phrases K. A
range that cannot be drawn has log-probability -inf and takes no part.
"""

from __future__ import annotations

import torch
from torch import Tensor


def control_logprobs(ranges: Tensor, weights: Tensor) -> Tensor:
    """Log-probabilities (..., C) of whole controls, of those of both heads, (..., R) and (..., W).

    >>> control_logprobs(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0]).log()).exp()
    tensor([0.5000, 0.5000])
    """
    return (ranges[..., :, None] + weights[..., None, :]).flatten(-2)


def expected_worth(ranges: Tensor, weights: Tensor, worth: Tensor) -> Tensor:
    """What both heads together can expect (...), of worth (..., R, W): exact, so no draw's luck is in it.

    Its gradient is the expected policy gradient (Ciosek and Whiteson 2018, arXiv 1706.05374, equation 8).

    >>> half = torch.tensor([0.5, 0.5]).log()
    >>> expected_worth(half, half, torch.tensor([[4.0, 0.0], [0.0, 0.0]]))
    tensor(1.)
    """
    return (ranges.exp()[..., :, None] * weights.exp()[..., None, :] * worth).sum((-1, -2))


def better_controls(logprobs: Tensor, worth: Tensor, sharpness: float) -> Tensor:
    """Probabilities (..., C) of the policy's controls tilted to those worth more: policy * exp(worth /
    sharpness).

    logprobs (..., C) and worth (..., C); `sharpness` is in units of worth.

    >>> better_controls(torch.tensor([0.5, 0.5]).log(), torch.tensor([0.0, 0.0]), 1.0)
    tensor([0.5000, 0.5000])
    """
    return (logprobs + worth / sharpness).softmax(-1)


def words_credit(rewards: Tensor, worth: Tensor, drawn: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """What the words of rows would have earned with controls drawn from `target`, (B,).

    reward + sum over phrases of (mean worth under target - worth of the control drawn): the reward corrected
    by a model of it, as in Dudik et al. 2011 (arXiv 1103.4601, equation 2) at weight 1. Right on average
    where the worths are, however controls were drawn; and where they were drawn from target, whatever the
    worths. rewards (B,); worth, target (B, K, C); drawn (B, K); mask (B, K).

    >>> worth, drawn = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[1]])
    >>> words_credit(torch.tensor([5.0]), worth, drawn, torch.tensor([[[1.0, 0.0]]]), drawn == 1)
    tensor([7.])
    """
    missed = (target * worth).sum(-1) - worth.gather(-1, drawn[..., None])[..., 0]
    return rewards + torch.where(mask, missed, 0.0).sum(-1)


def lost_meaning(scores: Tensor, plain: Tensor, slack: float) -> Tensor:
    """By how much scores (B,) lie more than `slack` below those of the plain pictures (B,), as 0 or less.

    >>> lost_meaning(torch.tensor([0.8, 0.3]), torch.tensor([0.8, 0.8]), 0.25)
    tensor([ 0.0000, -0.2500])
    """
    return (scores - plain + slack).clamp_max(0.0)
