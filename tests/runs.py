"""Running tiny pipelines the same way in many tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image

SIZE = 16  # pixels of every tiny picture
# The tiny pipeline that lends a family its components; a family without one fails.
SOURCES = {
    "stable-diffusion": "sd1",
    "sdxl": "sdxl",
    "sd3": "sd3",
    "flux": "flux",
    "qwen-image": "qwen-image",
}


def picture(seed: int = 0) -> Image.Image:
    """A noisy picture to start image-to-image from."""
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def generators(*seeds: int) -> list[torch.Generator]:
    """One generator per row."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def image_arguments(name: str, rows: int) -> dict[str, Any]:
    """What a tiny pipeline needs besides prompts and generators: pictures, masks, a size.

    One picture per row: the stock pipelines draw the noise of a shared one from the first row's generator.
    """
    if "img2img" in name:
        return {"image": [picture()] * rows}
    if "inpaint" in name:
        pictures = {"image": [picture()] * rows, "mask_image": [picture(1).convert("L")] * rows}
        return {**pictures, "height": SIZE, "width": SIZE}
    if "controlnet" in name:
        return {"image": [picture()] * rows, "height": SIZE, "width": SIZE}
    return {"height": SIZE, "width": SIZE}


def length_arguments(name: str) -> dict[str, int]:
    """A short text window where the family lets one choose."""
    return {"max_sequence_length": 32} if name.startswith(("sd3", "flux")) else {}


def draw(
    pipe: Any, name: str, inputs: Mapping[str, Any], seeds: tuple[int, ...], **more: Any
) -> torch.Tensor:
    """Run a pipeline call and return pictures (B,3,H,W) in [0,1]."""
    arguments = {**image_arguments(name, len(seeds)), **inputs, **more}
    pictures: torch.Tensor = pipe(**arguments, generator=generators(*seeds), output_type="pt").images
    return pictures
