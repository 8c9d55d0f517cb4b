"""From latents to pictures as the stock Stable Diffusion and SDXL calls decode them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def decode_latents(pipe: Any, latents: Tensor, generators: list[torch.Generator]) -> tuple[Tensor, Any]:
    """Return pictures (B,3,H,W) in [0, 1], and which the safety checker hid (None without a checker).

    `latents` (B,C,h,w) as the last step leaves them.
    """
    if hasattr(pipe, "run_safety_checker"):  # Stable Diffusion 1 and 2
        scaled = latents / pipe.vae.config.scaling_factor
        images = pipe.vae.decode(scaled, return_dict=False, generator=generators)[0]
        images, hidden = pipe.run_safety_checker(images, pipe._execution_device, latents.dtype)
    else:
        images, hidden = _decode_xl(pipe, latents), None
        if pipe.watermark is not None:
            images = pipe.watermark.apply_watermark(images)
    shown = [not flag for flag in hidden] if hidden is not None else [True] * len(images)
    return pipe.image_processor.postprocess(images, output_type="pt", do_denormalize=shown), hidden


def _decode_xl(pipe: Any, latents: Tensor) -> Tensor:
    vae = pipe.vae
    # SDXL's own VAE overflows in float16 and says so in its configuration.
    upcast = vae.dtype == torch.float16 and vae.config.force_upcast
    if upcast:
        vae.to(dtype=torch.float32)
        latents = latents.float()
    try:
        images: Tensor = vae.decode(_unscale(vae.config, latents), return_dict=False)[0]
    finally:
        if upcast:  # out of memory as well: fewer pictures are tried next
            vae.to(dtype=torch.float16)
    return images


def _unscale(config: Any, latents: Tensor) -> Tensor:
    mean, std = config.get("latents_mean"), config.get("latents_std")
    if mean is None or std is None:
        return latents / config.scaling_factor
    shape = (1, -1, 1, 1)
    mean, std = (torch.tensor(each).view(shape).to(latents) for each in (mean, std))
    return latents * std / config.scaling_factor + mean
