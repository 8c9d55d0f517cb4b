"""The losses of stage 2: pure functions on tensors, masks always given.

Shapes: B rows, T tokens, K classes of a head. A mask (B, T) is true where a draw was a choice. Every loss is
a sum over the mask divided by `count`, by default the mask's own: a batch computed in parts gives each part
the count of the whole, and the parts add up. An empty mask gives 0 with gradients of 0.

The policy's text, ranges and weights are separate draws with log-probabilities of their own; each has its own
surrogate, averaged over its own draws (heads are few draws among many tokens, and must not drown in them).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# exp(20) is beyond every clip and within every float; a ratio that overflows would make 0 times infinity.
_LOG_RATIO = 20.0


@dataclass(frozen=True)
class Surrogate:
    """The clipped surrogate of one kind of draw, scalars.

    `loss` is what to minimise; `clipped` the share of draws whose gradient the clip took away; `kl` estimates
    how far the policy has moved from the one that drew, KL(old || new), never negative.
    """

    loss: Tensor
    clipped: Tensor
    kl: Tensor


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float,
    count: float | None = None,
) -> Surrogate:
    """PPO's clipped surrogate, to minimise (Schulman et al. 2017, arXiv 1707.06347, equation 7).

    logprobs are those of the policy now, of what was drawn; old_logprobs those it was drawn with; both, and
    advantages, (B, T).

    >>> new, old, on = torch.tensor([[0.5]]).log(), torch.tensor([[0.25]]).log(), torch.tensor([[True]])
    >>> clipped_surrogate(new, old, torch.tensor([[1.0]]), on, clip=0.2).loss
    tensor(-1.2000)
    """
    log_ratio = _inside(logprobs - old_logprobs, mask).clamp(-_LOG_RATIO, _LOG_RATIO)
    ratio, advantages = log_ratio.exp(), _inside(advantages, mask)
    free, bound = ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages
    with torch.no_grad():
        clipped = _mean((bound < free).to(ratio), mask, count)
        moved = _mean(ratio - 1 - log_ratio, mask, count)
    return Surrogate(-_mean(torch.minimum(free, bound), mask, count), clipped, moved)


def value_loss(
    values: Tensor,
    old_values: Tensor,
    returns: Tensor,
    mask: Tensor,
    *,
    clip: float | None = None,
    count: float | None = None,
) -> Tensor:
    """Half the squared error of values against returns, all (B, T); with `clip` the worse of two.

    The second one lets a value move at most `clip` away from what it was when the rows were drawn, so that
    moving further is not rewarded (the paper's code: 0.4).

    >>> on = torch.tensor([[True]])
    >>> value_loss(torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[1.0]]), on, clip=0.4)
    tensor(0.1800)
    """
    values, old_values, returns = (_inside(each, mask) for each in (values, old_values, returns))
    errors = (values - returns).square()
    if clip is not None:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.maximum(errors, (near - returns).square())
    return 0.5 * _mean(errors, mask, count)


def sampled_kl(logprobs: Tensor, reference: Tensor, mask: Tensor, *, count: float | None = None) -> Tensor:
    """KL(policy || reference) per draw, estimated from draws of the policy, to be measured: never negative.

    logprobs, reference (B, T) of what was drawn. The estimator q/p - 1 - log(q/p) is unbiased (Schulman 2020,
    "Approximating KL divergence", k3), but its gradient is that of KL(reference || policy): a loss takes
    `sampled_kl_loss`.
    """
    log_ratio = _inside(reference - logprobs, mask).clamp(-_LOG_RATIO, _LOG_RATIO)
    return _mean(log_ratio.exp() - 1 - log_ratio, mask, count)


def sampled_kl_loss(
    logprobs: Tensor, reference: Tensor, mask: Tensor, *, count: float | None = None
) -> Tensor:
    """A loss whose expected gradient is that of KL(policy || reference), from draws of the policy.

    Half the squared log-ratio (k2): its gradient (log p - log q) grad log p is the policy gradient of the
    divergence. That of log p - log q itself would be 0 on average.

    >>> sampled_kl_loss(torch.tensor([[-1.0]]), torch.tensor([[-3.0]]), torch.tensor([[True]]))
    tensor(2.)
    """
    return 0.5 * _mean(_inside(logprobs - reference, mask).square(), mask, count)


def exact_kl(logprobs: Tensor, reference: Tensor, mask: Tensor, *, count: float | None = None) -> Tensor:
    """KL(policy || reference) of whole distributions (B, T, K): a mean over the mask, exact at each draw.

    Classes that cannot be drawn have log-probability -inf in both and add nothing.

    >>> half, skewed = torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[[0.9, 0.1]]]).log()
    >>> exact_kl(half, skewed, torch.tensor([[True]]))
    tensor(0.5108)
    """
    possible = logprobs > -torch.inf
    ours, theirs = (torch.where(possible, each, 0.0) for each in (logprobs, reference))
    each = torch.where(possible, ours.exp() * (ours - theirs), 0.0).sum(-1)
    return _mean(_inside(each, mask), mask, count)


def entropy(logprobs: Tensor, mask: Tensor, *, count: float | None = None) -> Tensor:
    """The mean entropy, in nats, of distributions (B, T, K) over the mask.

    >>> entropy(torch.tensor([[[0.5, 0.5]]]).log(), torch.tensor([[True]]))
    tensor(0.6931)
    """
    possible = logprobs > -torch.inf
    ours = torch.where(possible, logprobs, 0.0)
    each = -torch.where(possible, ours.exp() * ours, 0.0).sum(-1)
    return _mean(_inside(each, mask), mask, count)


def sampled_entropy_loss(logprobs: Tensor, mask: Tensor, *, count: float | None = None) -> Tensor:
    """A loss whose expected gradient is that of minus the entropy, from draws (B, T) of the policy.

    Half the squared log-probability: its gradient log p grad log p is the policy gradient of E[log p].
    Cheaper than the whole distribution over a vocabulary.

    >>> sampled_entropy_loss(torch.tensor([[-2.0]]), torch.tensor([[True]]))
    tensor(2.)
    """
    return 0.5 * _mean(_inside(logprobs, mask).square(), mask, count)


def adapt_kl(scale: float, measured: float, target: float, *, rate: float = 0.1) -> float:
    """The next scale of the KL coefficients: more where the policy strays beyond the target, less within.

    A proportional controller (Ziegler et al. 2019, arXiv 1909.08593, section 2.2): the relative error,
    at most 20 % of it either way, moves the scale by `rate` of itself.

    >>> adapt_kl(1.0, measured=9.0, target=3.0), adapt_kl(1.0, measured=3.0, target=3.0)
    (1.02, 1.0)
    """
    return scale * (1 + rate * min(max(measured / target - 1, -0.2), 0.2))


def _inside(values: Tensor, mask: Tensor) -> Tensor:
    """Values where the mask is true, else 0, whatever stands there: NaN and infinity too."""
    return torch.where(mask, values, 0.0)


def _mean(values: Tensor, mask: Tensor, count: float | None) -> Tensor:
    total = float(mask.sum()) if count is None else count
    return _inside(values, mask).sum() / max(total, 1.0)
