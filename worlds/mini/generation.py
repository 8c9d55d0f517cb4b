"""Pictures out of the mini pipeline, for the build and its checks: many DF-Prompts, one seed each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from diffusers import StableDiffusionPipeline

from dfprompt.conditioning.prepare import prepare
from dfprompt.mini.pieces import open_piece
from dfprompt.prompt import DFPrompt


def open_pipeline(folder: Path, device: torch.device | None = None) -> StableDiffusionPipeline:
    """The stock pipeline of a folder, in single precision, without progress bars."""
    pipe = open_piece(
        lambda f: StableDiffusionPipeline.from_pretrained(f, dtype=torch.float32, trust_remote_code=False),
        folder,
        "unet",
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe.to(device or torch.device("cpu"))


def generate_pictures(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str | DFPrompt],
    *,
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
    batch: int = 64,
) -> npt.NDArray[np.uint8]:
    """Draw one picture per prompt, plain or DF, each with its own seed: uint8 (B, 64, 64, 3)."""
    out = []
    for i in range(0, len(prompts), batch):
        generators = [torch.Generator().manual_seed(seed) for seed in seeds[i : i + batch]]
        inputs = prepare(pipe, list(prompts[i : i + batch]), num_inference_steps=steps, weighting="comfy")
        images = pipe(**inputs, guidance_scale=guidance_scale, generator=generators, output_type="np").images
        out.append(np.round(images * 255).astype(np.uint8))
    return np.concatenate(out)
