"""Drawing classes from logits: masks, temperature, top-k, top-p, and one uniform number per draw."""

from __future__ import annotations

import torch
from torch import Tensor

from dfprompt.errors import GenerationError


def masked_logprobs(logits: Tensor, allowed: Tensor) -> Tensor:
    """Log-probabilities (..., N), float32, over the allowed classes alone; -inf for the others.

    >>> masked_logprobs(torch.zeros(3), torch.tensor([True, True, False])).exp()
    tensor([0.5000, 0.5000, 0.0000])
    """
    return logits.float().masked_fill(~allowed, -torch.inf).log_softmax(-1)


def draw(
    logprobs: Tensor, uniforms: Tensor, *, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0
) -> Tensor:
    """Draw a class per row (B,) from logprobs (B, N), by inversion at uniforms (B,) in [0, 1).

    One number decides one draw, so a row's draws depend on its own generator alone, whatever else is
    in the batch. Temperature 0 takes the most likely class; top_k 0 and top_p 1 truncate nothing.

    >>> draw(torch.tensor([[0.1, 0.9]]).log(), torch.tensor([0.05]))
    tensor([0])
    """
    if logprobs.isnan().any():
        raise GenerationError(
            "the policy's probabilities are not numbers: its weights are damaged, or its training diverged; "
            "take an earlier checkpoint"
        )
    if not temperature:
        return logprobs.argmax(-1)
    scaled = logprobs.double() / temperature
    if top_k or top_p < 1:
        scaled = _truncate(scaled, top_k, top_p)
    heights = scaled.softmax(-1).cumsum(-1)
    total = heights[:, -1:]
    # A product that rounds up to the total would land behind the last class that can be drawn.
    at = torch.minimum(uniforms.to(heights)[:, None] * total, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(heights, at, right=True)[:, 0]


def _truncate(scaled: Tensor, top_k: int, top_p: float) -> Tensor:
    if 0 < top_k < scaled.shape[-1]:
        least = scaled.topk(top_k, dim=-1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < least, -torch.inf)
    if top_p < 1:
        ordered, order = scaled.sort(dim=-1, descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        # The class that crosses top_p stays: at least one always does.
        gone = torch.zeros_like(scaled, dtype=torch.bool).scatter(-1, order, before >= top_p)
        gone.scatter_(-1, order[:, :1], False)
        scaled = scaled.masked_fill(gone, -torch.inf)
    return scaled
