"""Attention written out: softmax, then the probability of each text token times its weight, then values.

The second formula that the rule `attention` is held to; no fused kernel and no hook has a part in it.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.embeddings import apply_rotary_emb
from torch import Tensor


def attend(query: Tensor, key: Tensor, value: Tensor, weights: Tensor) -> Tensor:
    """Attend with heads in the second place, (B,H,N,d); `weights` (N,) multiplies each key's probability."""
    probabilities = (query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5).softmax(dim=-1)
    return (probabilities * weights) @ value


class CrossAttention:
    """Processor for a UNet's cross attention; `weights` (T,) belong to the text tokens."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor, *args: Any, **more: Any
    ) -> Tensor:
        query = attn.to_q(hidden_states)
        key, value = attn.to_k(encoder_hidden_states), attn.to_v(encoder_hidden_states)
        heads = [each.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for each in (query, key, value)]
        mixed = attend(*heads, self.weights).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](mixed))


class FluxAttention:
    """Processor for FLUX's double and single blocks; text comes first in the joint sequence."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        image_rotary_emb: Any = None,
    ) -> Any:
        query, key, value = (
            attn.norm_q(_heads(attn, attn.to_q(hidden_states))),
            attn.norm_k(_heads(attn, attn.to_k(hidden_states))),
            _heads(attn, attn.to_v(hidden_states)),
        )
        text = 0 if encoder_hidden_states is None else encoder_hidden_states.shape[1]
        if encoder_hidden_states is not None:
            added = (
                attn.norm_added_q(_heads(attn, attn.add_q_proj(encoder_hidden_states))),
                attn.norm_added_k(_heads(attn, attn.add_k_proj(encoder_hidden_states))),
                _heads(attn, attn.add_v_proj(encoder_hidden_states)),
            )
            query, key, value = (
                torch.cat(pair, dim=1) for pair in zip(added, (query, key, value), strict=True)
            )
        query, key = (apply_rotary_emb(each, image_rotary_emb, sequence_dim=1) for each in (query, key))
        pictures = self.weights.new_ones(query.shape[1] - len(self.weights))
        weights = torch.cat([self.weights, pictures])
        mixed = attend(*(each.transpose(1, 2) for each in (query, key, value)), weights)
        mixed = mixed.transpose(1, 2).flatten(2)
        if not text:
            return mixed
        return attn.to_out[1](attn.to_out[0](mixed[:, text:])), attn.to_add_out(mixed[:, :text])


def _heads(attn: Any, tensor: Tensor) -> Tensor:
    return tensor.unflatten(-1, (attn.heads, -1))
