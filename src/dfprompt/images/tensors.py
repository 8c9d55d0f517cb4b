"""Pictures between tensors and PIL: 8-bit, rounded to the nearest level, never clipped in silence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from dfprompt.errors import ConfigError

_SLACK = 1e-3  # a decoder's rounding may leave [0, 1] by a hair


def to_levels(images: Tensor) -> npt.NDArray[np.uint8]:
    """Return pictures (B,3,H,W) in [0, 1] as 8-bit levels (B,H,W,3), rounded to the nearest.

    Raises ConfigError for other shapes, for NaN and for values outside [0, 1].

    >>> to_levels(torch.full((1, 3, 1, 1), 0.5)).tolist()
    [[[[128, 128, 128]]]]
    """
    if images.ndim != 4 or images.shape[1] != 3:
        raise ConfigError(f"pictures must have the shape (B, 3, H, W), not {tuple(images.shape)}")
    pixels = images.detach().to("cpu", torch.float32)
    if not bool(((pixels >= -_SLACK) & (pixels <= 1 + _SLACK)).all()):
        raise ConfigError("pictures must lie in [0, 1]; these hold other values, or NaN")
    levels = (pixels.clamp(0, 1) * 255 + 0.5).floor().to(torch.uint8)
    array: npt.NDArray[np.uint8] = levels.permute(0, 2, 3, 1).contiguous().numpy()
    return array


def to_pil(images: Tensor) -> list[Image.Image]:
    """Return pictures (B,3,H,W) in [0, 1] as PIL images; raises what `to_levels` raises.

    >>> to_pil(torch.zeros(2, 3, 8, 16))[0].size
    (16, 8)
    """
    return [Image.fromarray(levels) for levels in to_levels(images)]


def to_tensor(images: Sequence[Image.Image]) -> Tensor:
    """Return RGB images of one size as a tensor (B,3,H,W), float32 in [0, 1].

    Raises ConfigError for none, for several sizes, or for other modes than RGB.

    >>> to_tensor([Image.new("RGB", (4, 2), "white")]).shape
    torch.Size([1, 3, 2, 4])
    """
    kinds = {(image.mode, image.size) for image in images}
    if len(kinds) != 1 or next(iter(kinds))[0] != "RGB":
        raise ConfigError(f"RGB images of one size are needed, got {sorted(kinds) or 'none'}")
    levels = np.stack([np.asarray(image) for image in images])
    return torch.from_numpy(levels).permute(0, 3, 1, 2).float() / 255
