"""What the raters can see: numbers measured on pixels, one function for renders and generated pictures.

Nothing here knows a caption, a modifier, a DF-Prompt, an effect range or a weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MEASURES = (
    "brightness",
    "contrast",
    "warmth",
    "saturation",
    "sharpness",
    "grain",
    "texture",
    "spotlight",
    "backdrop",
    "gloss",
    "subject_size",
    "subject_x",
    "subject_y",
)

_LUMA = torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)


def luma(images: Tensor) -> Tensor:
    """Rec. 709 luma (B, 1, H, W) of pictures (B, 3, H, W)."""
    return (images * _LUMA.to(images)).sum(1, keepdim=True)


def _mean_filter(x: Tensor, size: int) -> Tensor:
    pad = size // 2
    return functional.avg_pool2d(functional.pad(x, (pad,) * 4, mode="replicate"), size, 1)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    line = (torch.arange(images.shape[-1], device=images.device) + 0.5) / images.shape[-1] * 2 - 1
    return line.view(1, 1, 1, -1), line.view(1, 1, -1, 1)


def salience(images: Tensor) -> Tensor:
    """How much each pixel differs from its row's median colour, 0..1, (B, 1, H, W): where the subject is."""
    soft = _mean_filter(images, 3)
    typical = soft.median(dim=3, keepdim=True).values
    chroma = soft - luma(soft)
    usual = typical - luma(typical)
    distance = (soft - typical).abs().mean(1, keepdim=True) + 1.5 * (chroma - usual).abs().mean(
        1, keepdim=True
    )
    x, y = _grid(images)
    window = torch.exp(-((x / 0.95) ** 4) - ((y - 0.15) / 0.80) ** 4)
    return torch.sigmoid((distance - 0.16) / 0.03) * window


def measure(images: Tensor) -> dict[str, Tensor]:
    """Every measure of pictures (B, 3, H, W) in [0, 1], each (B,), in the units its line says."""
    grey = luma(images)
    x, y = _grid(images)
    flat = grey.flatten(1)
    across = (grey[..., :, 1:] - grey[..., :, :-1]).abs()
    down = (grey[..., 1:, :] - grey[..., :-1, :]).abs()
    edges = torch.maximum(across[..., :-1, :], down[..., :, :-1])
    fine = grey - _mean_filter(grey, 3)
    middle = _mean_filter(grey, 3) - _mean_filter(grey, 9)
    inner = torch.exp(-(x**2 + (y - 0.1) ** 2) / 0.5)
    rim = ((x.abs().maximum(y.abs())) > 0.7).float()
    far = ((y < -0.15) & (y > -0.95)).float()[..., :-1, :].expand(1, 1, -1, images.shape[-1])[..., :-1]
    found = salience(images)
    mass = found.sum((1, 2, 3)).clamp_min(1e-3)
    return {
        "brightness": flat.mean(1),  # mean luma
        "contrast": flat.std(1),  # spread of luma
        "warmth": (images[:, 0] - images[:, 2]).mean((1, 2)),  # red minus blue
        "saturation": (images.amax(1) - images.amin(1)).mean((1, 2)),  # distance from grey
        "sharpness": edges.flatten(1).quantile(0.95, dim=1),  # strong edges, luma per pixel
        "grain": fine.abs().flatten(1).median(1).values,  # pixel-scale noise in the flats
        "texture": middle.abs().flatten(1).median(1).values,  # structure of three to nine pixels in the flats
        "spotlight": (grey * inner).sum((1, 2, 3)) / inner.sum() - (grey * rim).sum((1, 2, 3)) / rim.sum(),
        "backdrop": (edges * far).sum((1, 2, 3)) / far.sum(),  # how busy the upper background is
        "gloss": (found * functional.relu(grey - 0.80)).sum((1, 2, 3))
        / mass,  # highlights where the eye rests
        "subject_size": mass / images[0, 0].numel(),  # share of the picture that stands out
        "subject_x": (found * x).sum((1, 2, 3)) / mass,  # -1..1
        "subject_y": (found * y).sum((1, 2, 3)) / mass,
    }
