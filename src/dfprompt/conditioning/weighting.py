"""Weighting rules: pure functions from encodings and token weights to weighted encodings.

Shapes: B batch, T tokens, D width, K down-weighted spans. All compute in float32 and return the
dtype they were given, and leave a row whose weights are all 1 exactly as it was.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_RATIO = 1.25  # how far `mean` may push the level of an encoding back
SMALL_MEAN = 0.01  # below this share of the mean magnitude a mean says nothing
LEAST_WEIGHT = 1e-5  # compel's floor: at 0 its blend weight would be infinite


def weight_scale(encoding: Tensor, weights: Tensor) -> Tensor:
    """Multiply each token's vector by its weight: z_i * w_i.

    `encoding` (B,T,D), `weights` (B,T). The rule of AUTOMATIC1111's emphasis "no norm" and sd_embed.

    >>> weight_scale(torch.ones(1, 2, 1), torch.tensor([[1.0, 1.5]])).flatten().tolist()
    [1.0, 1.5]
    """
    return (encoding.float() * weights.float()[..., None]).to(encoding.dtype)


def weight_mean(encoding: Tensor, weights: Tensor) -> Tensor:
    """Multiply by the weights, then restore the mean of each sample: z' = z*w, z' * mean(z)/mean(z').

    `encoding` (B,T,D), `weights` (B,T). The rule of the PAE paper (Mo et al., CVPR 2024) and of
    AUTOMATIC1111's original emphasis, with two guards: the mean is taken per sample, so that rows do
    not disturb each other, and the ratio is kept within [0.8, 1.25], being 1 where either mean is
    under 1 % of the mean magnitude and the quotient would be noise, or flip the sign.

    >>> z = torch.tensor([[[1.0], [3.0]]])
    >>> weight_mean(z, torch.tensor([[1.0, 1.1]])).mean().round(decimals=4).item()
    2.0
    """
    scaled = encoding.float() * weights.float()[..., None]
    before, after = _level(encoding.float()), _level(scaled)
    usable = (before != 0) & (after != 0)
    ratio = torch.where(usable, before / torch.where(usable, after, 1.0), 1.0)
    ratio = ratio.clamp(1 / MAX_RATIO, MAX_RATIO)
    # Rows that nothing weights stay as they are, bit for bit.
    plain = (weights == 1).all(dim=1)[:, None, None]
    return torch.where(plain, encoding, (scaled * ratio).to(encoding.dtype))


def weight_comfy(encoding: Tensor, weights: Tensor, empty: Tensor) -> Tensor:
    """Interpolate from the encoding of the empty prompt: e_i + (z_i - e_i) * w_i.

    `encoding` and `empty` (B,T,D), `weights` (B,T). The rule of ComfyUI, and of compel for weights
    of at least 1.

    >>> z, e = torch.full((1, 1, 1), 3.0), torch.ones(1, 1, 1)
    >>> weight_comfy(z, torch.tensor([[1.5]]), e).item()
    4.0
    """
    factors = weights.float()[..., None]
    weighted = empty.float() + (encoding.float() - empty.float()) * factors
    return torch.where(factors == 1, encoding, weighted.to(encoding.dtype))


def weight_compel(
    encoding: Tensor, weights: Tensor, empty: Tensor, masked: Tensor, down_weights: Sequence[float]
) -> Tensor:
    """Apply `comfy`, then blend in encodings that cannot see the down-weighted spans.

    `encoding` and `empty` (B,T,D), `weights` (B,T); `masked` (B,K,T,D): the text encoded with span k
    hidden from attention, `down_weights` its weight (below 1), 0 <= k < K. The blend gives the
    whole encoding weight 1 and masked encoding k weight tan((1 - w_k) * pi/2), normalised: at 0.5
    both count the same. The rule of compel 2.5.

    >>> z = e = torch.ones(1, 1, 1)
    >>> weight_compel(z, torch.ones(1, 1), e, torch.zeros(1, 1, 1, 1), [0.5]).item()
    0.5
    """
    whole = weight_comfy(encoding, weights, empty)
    if not down_weights:
        return whole
    shares = [math.tan((1 - max(LEAST_WEIGHT, weight)) * math.pi / 2) for weight in down_weights]
    total = 1 + sum(shares)
    blended = whole.float() / total
    for span, share in enumerate(shares):
        blended = blended + weight_comfy(masked[:, span], weights, empty).float() * (share / total)
    return blended.to(encoding.dtype)


def _level(tensor: Tensor) -> Tensor:
    """Return each sample's mean (B,1,1), or 0 where it is lost beside the mean magnitude."""
    mean = tensor.mean(dim=(1, 2), keepdim=True)
    magnitude = tensor.abs().mean(dim=(1, 2), keepdim=True)
    return torch.where(mean.abs() < SMALL_MEAN * magnitude, torch.zeros_like(mean), mean)
