"""What happens to a picture before an image tower sees it, read from the model's own configuration."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from dfprompt.errors import LoadError
from dfprompt.excerpt import quote
from dfprompt.rewards.resampling import resize_levels, to_8_bit
from dfprompt.storage import read_json

# OpenAI's CLIP statistics, which every score here was trained with.
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_PILLOW_FILTERS = {2: "bilinear", 3: "bicubic"}
_MOST = 10_000


@dataclass(frozen=True)
class Preprocessing:
    """Resize, crop or pad, and normalise, as the published image processors do, on the images' device.

    fit "crop": the shorter edge becomes `edge`, the middle `crop` is kept (CLIP, PickScore).
    fit "pad": the longer edge becomes `edge`, black fills the square (HPSv2).
    fit "stretch": both edges become `crop`. Sizes in pixels, (height, width).
    """

    edge: int
    crop: tuple[int, int]
    fit: Literal["crop", "pad", "stretch"] = "crop"
    kernel: str = "bicubic"
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, images: Tensor) -> Tensor:
        """Pixel values (B, 3, crop height, crop width), float32; images (B, 3, H, W) in [0, 1].

        >>> Preprocessing(edge=4, crop=(4, 4))(torch.rand(2, 3, 8, 6)).shape
        torch.Size([2, 3, 4, 4])
        """
        levels = to_8_bit(images.float() * 255)
        size = self.resized(images.shape[2], images.shape[3])
        rows = _window(size[0], self.crop[0], self.fit)
        columns = _window(size[1], self.crop[1], self.fit)
        levels = resize_levels(
            levels, size, (rows.start, rows.stop, columns.start, columns.stop), self.kernel
        )
        border = (columns.before, columns.after, rows.before, rows.after)
        pixels = functional.pad(levels, border) / 255 if any(border) else levels / 255
        mean = torch.tensor(self.mean, device=images.device)[:, None, None]
        std = torch.tensor(self.std, device=images.device)[:, None, None]
        return (pixels - mean) / std

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The size a picture has after resizing and before cropping or padding."""
        short, long = min(height, width), max(height, width)
        if self.fit == "stretch":
            return self.crop
        if self.fit == "pad":
            return max(1, round(height * self.edge / long)), max(1, round(width * self.edge / long))
        other = int(self.edge * long / short)
        return (self.edge, other) if height <= width else (other, self.edge)


@dataclass(frozen=True)
class _Window:
    """Which rows (or columns) of the resized picture are kept, and how many black ones surround them."""

    start: int
    stop: int
    before: int
    after: int


def _window(length: int, kept: int, fit: str) -> _Window:
    if length >= kept:
        start = (length - kept) // 2
        return _Window(start, start + kept, 0, 0)
    missing = kept - length
    before = missing // 2 if fit == "pad" else (missing + 1) // 2
    return _Window(0, length, before, missing - before)


def read_preprocessing(folder: Path, *, fit: Literal["crop", "pad"] = "crop") -> Preprocessing:
    """Read `preprocessor_config.json` or `processor_config.json`; LoadError if it cannot be followed."""
    source, config = _read_config(folder)
    steps = ("do_resize", "do_center_crop", "do_rescale", "do_normalize")
    missing = [step for step in steps if config.get(step) is False]
    if missing and not (missing == ["do_center_crop"] and _pair(config.get("size"))):
        raise LoadError(f"{source}: {', '.join(missing)} is off; such a processor is not supported")
    resample = config.get("resample", 3)
    kernel = _PILLOW_FILTERS.get(resample) if isinstance(resample, int) else None
    if kernel is None:
        raise LoadError(f"{source}: resample {quote(resample)} is not bilinear (2) or bicubic (3)")
    mean = _channels(source, "image_mean", config.get("image_mean", CLIP_MEAN))
    std = _channels(source, "image_std", config.get("image_std", CLIP_STD))
    if not all(std):
        raise LoadError(f"{source}: image_std {list(std)} has a 0, and pictures are divided by it")
    for name in ("size", "crop_size"):
        _check_size(source, name, config.get(name))
    edge, stretched = _edge(config.get("size", 224)), _pair(config.get("size"))
    if edge is not None:
        crop = _pair(config.get("crop_size")) or (edge, edge)
        return Preprocessing(edge, crop, fit=fit, kernel=kernel, mean=mean, std=std)
    if stretched is None:
        raise LoadError(f"{source}: size {config.get('size')!r} is neither a shortest edge nor a pair")
    if config.get("do_center_crop", True) and _pair(config.get("crop_size")) not in (None, stretched):
        raise LoadError(f"{source}: stretching to {stretched} and cropping then is not supported")
    return Preprocessing(max(stretched), stretched, fit="stretch", kernel=kernel, mean=mean, std=std)


def _read_config(folder: Path) -> tuple[Path, dict[str, Any]]:
    for name in ("preprocessor_config.json", "processor_config.json"):
        source = folder / name
        if source.is_file():
            try:
                config = read_json(source)
            except (OSError, ValueError, RecursionError) as error:
                raise LoadError(f"{source}: not a JSON file: {error}") from error
            if isinstance(config, dict) and isinstance(config.get("image_processor", config), dict):
                return source, config.get("image_processor", config)
            raise LoadError(f"{source}: not a JSON object of settings")
    raise LoadError(
        f"{folder}: no preprocessor_config.json; download it from the model's page or save one with "
        "CLIPProcessor.save_pretrained"
    )


def _channels(source: Path, name: str, values: Any) -> tuple[float, float, float]:
    """Three finite numbers, one a colour channel."""
    if isinstance(values, list | tuple) and len(values) == 3:
        if all(isinstance(each, int | float) and abs(each) < _MOST for each in values):
            return values[0], values[1], values[2]
    raise LoadError(f"{source}: {name} {quote(values)} is not three numbers")


def _check_size(source: Path, name: str, size: Any) -> None:
    """Sizes are pixels, 1 to 10000: more would fill the memory before any model had a say."""
    sides = list(size.values()) if isinstance(size, dict) else [size]
    for side in sides:
        if side is not None and (
            isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= _MOST
        ):
            raise LoadError(f"{source}: {name} {quote(size)} is not of 1 to {_MOST} pixels")


def _edge(size: Any) -> int | None:
    if isinstance(size, int):
        return size
    return size.get("shortest_edge") if isinstance(size, dict) else None


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return None
    if isinstance(size, dict) and size.get("height") and size.get("width"):
        return size["height"], size["width"]
    return None
