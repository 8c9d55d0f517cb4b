"""Pillow's resampling as two matrix products, so that it runs on any device and in batches.

Pillow resizes 8-bit pictures along x, rounds to 8 bits, then along y, and rounds again, with weights
that are whole multiples of 2^-22. The same is done here in float64, which holds all of it exactly, so
that a tensor, the file saved from it and the published processors agree to the last level. Formula:
a kernel stretched by the scale when shrinking, sampled at pixel centres, cut at the border, normalised.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from torch import Tensor

_FIXED_POINT = 2**22


def _bicubic(distance: Tensor) -> Tensor:
    """Keys' cubic kernel with a = -0.5, as Pillow's."""
    x = distance.abs()
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))


def _bilinear(distance: Tensor) -> Tensor:
    return (1 - distance.abs()).clamp_min(0)


# name -> (kernel, its reach in pixels at scale 1)
KERNELS: dict[str, tuple[Callable[[Tensor], Tensor], float]] = {
    "bicubic": (_bicubic, 2.0),
    "bilinear": (_bilinear, 1.0),
}


@functools.lru_cache(maxsize=64)
def resampling_matrix(
    length: int, target: int, kernel: str = "bicubic", start: int = 0, stop: int | None = None
) -> Tensor:
    """Rows start..stop of the (target, length) float64 matrix that resizes `length` pixels to `target`.

    >>> resampling_matrix(4, 2, "bilinear")
    tensor([[0.4286, 0.4286, 0.1429, 0.0000],
            [0.0000, 0.1429, 0.4286, 0.4286]], dtype=torch.float64)
    """
    weigh, reach = KERNELS[kernel]
    scale = length / target
    stretch = max(scale, 1.0)
    centre = (torch.arange(start, target if stop is None else stop, dtype=torch.float64) + 0.5) * scale
    pixel = torch.arange(length, dtype=torch.float64)
    first = (centre - reach * stretch + 0.5).trunc().clamp_min(0)[:, None]
    last = (centre + reach * stretch + 0.5).trunc().clamp_max(length)[:, None]
    weights = weigh((pixel + 0.5 - centre[:, None]) / stretch)
    weights = torch.where((pixel >= first) & (pixel < last), weights, torch.zeros_like(weights))
    weights = weights / weights.sum(1, keepdim=True)
    return (weights * _FIXED_POINT).round() / _FIXED_POINT


def resize_levels(
    levels: Tensor,
    size: tuple[int, int],
    window: tuple[int, int, int, int] | None = None,
    kernel: str = "bicubic",
) -> Tensor:
    """Resize 8-bit levels (B, 3, H, W), held as float, to `size` (height, width) as Pillow does.

    Only the `window` (top, bottom, left, right) of the result is computed and returned.
    """
    top, bottom, left, right = window or (0, size[0], 0, size[1])
    levels, rows = _rows_needed(levels, size[0], top, bottom, kernel)
    if levels.shape[3] == size[1]:
        levels = levels[:, :, :, left:right]
    else:
        columns = resampling_matrix(levels.shape[3], size[1], kernel, left, right)
        levels = to_8_bit(_exact(levels) @ _exact(columns, levels).T)
    return levels if rows is None else to_8_bit(_exact(rows, levels) @ _exact(levels))


def _rows_needed(
    levels: Tensor, target: int, top: int, bottom: int, kernel: str
) -> tuple[Tensor, Tensor | None]:
    """The rows that the window is mixed from, and the matrix that mixes them; None: nothing to resize."""
    if levels.shape[2] == target:
        return levels[:, :, top:bottom], None
    matrix = resampling_matrix(levels.shape[2], target, kernel, top, bottom)
    used = matrix.any(0).nonzero().flatten()
    first, last = int(used[0]), int(used[-1]) + 1
    return levels[:, :, first:last], matrix[:, first:last]


def to_8_bit(levels: Tensor) -> Tensor:
    """Round to whole levels, float32, halves upwards, within 0..255."""
    return (levels + 0.5).floor().clamp(0, 255).float()


def _exact(values: Tensor, like: Tensor | None = None) -> Tensor:
    """The values in float64 where they are going; Apple's GPUs have no float64 and may miss by a level."""
    device = (values if like is None else like).device
    return values.to(device, torch.float32 if device.type == "mps" else torch.float64)
