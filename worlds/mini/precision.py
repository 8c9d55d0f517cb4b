"""Training a denoiser in bfloat16 where the processor has it; what suffers or is slow in it stays single."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention
from torch import Tensor, nn
from torch.nn import functional


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether matrix products in bfloat16 are faster there than in single precision.

    >>> has_fast_bfloat16(torch.device("meta"))
    False
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    if device.type != "cpu" or not hasattr(torch.cpu, "get_capabilities"):
        return False
    found = torch.cpu.get_capabilities()
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


@contextmanager
def bfloat16_products(unet: UNet2DConditionModel, *, enabled: bool = True) -> Iterator[None]:
    """Within it the denoiser's linear layers and convolutions compute in bfloat16; weights stay single.

    Attention and norms stay in single precision: on a CPU their bfloat16 kernels are several times slower
    and cost more than the products gain. What was there before is put back at the end.
    """
    if not enabled:
        yield
        return
    device = next(unet.parameters()).device
    before = unet.attn_processors
    norms = [module for module in unet.modules() if isinstance(module, nn.GroupNorm | nn.LayerNorm)]
    hooks = [norm.register_forward_pre_hook(_to_single) for norm in norms]
    unet.set_attn_processor(_SingleAttention())
    try:
        # No cache: what it keeps for a weight it keeps until the outermost context ends, here a whole
        # training, whose steps would all see the weights of the first.
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            yield
    finally:
        for hook in hooks:
            hook.remove()
        unet.set_attn_processor(before)


def _to_single(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(each.float() for each in inputs)


class _SingleAttention:
    """Attention of single precision between projections of whatever precision is on."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        rows = (attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        query, key, value = (row.float().unflatten(-1, (attn.heads, -1)).transpose(1, 2) for row in rows)
        with torch.autocast(query.device.type, enabled=False):  # it would cast them back
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=attention_mask)
        out: Tensor = attn.to_out[1](attn.to_out[0](mixed.transpose(1, 2).flatten(2)))
        return out
