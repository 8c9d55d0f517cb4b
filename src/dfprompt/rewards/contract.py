"""The seam: what a reward or judge takes and gives, and the checks that hold for every one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dfprompt.errors import ConfigError, RewardError
from dfprompt.excerpt import quote

Records = Sequence[Mapping[str, Any]]

# A picture computed in float may leave [0, 1] by rounding; further out it is in other units (0..255, -1..1).
_RANGE_SLACK = 1e-3
_ROWS_SHOWN = 10


@runtime_checkable
class Reward(Protocol):
    """A reward or judge: pictures and the prompts they answer in, one score per picture out.

    images: (B, 3, H, W), float in [0, 1], on any device. prompts: B texts. records: the other fields
    of the prompt file, one mapping per row, for judges that ask about objects or questions.
    Returns (B,) float32 on the images' device.
    """

    def __call__(self, images: Tensor, prompts: Sequence[str], records: Records | None = None) -> Tensor:
        """Score each picture against its own prompt."""
        ...


def check_batch(images: Tensor, prompts: Sequence[str], records: Records | None = None) -> None:
    """Raise for a batch that no reward can score: ConfigError for its form, RewardError for NaN pixels.

    >>> check_batch(torch.zeros(2, 3, 8, 8), ["a cat"])
    Traceback (most recent call last):
        ...
    dfprompt.errors.ConfigError: 2 images need 2 prompts, got 1
    """
    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        given = tuple(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise ConfigError(f"images must be a tensor (B, 3, H, W), got {given}")
    if not images.is_floating_point():
        raise ConfigError(f"images must be float in [0, 1], got {images.dtype}; divide 8-bit levels by 255")
    _check_rows("prompts", prompts, len(images))
    for row, prompt in enumerate(prompts):
        if not isinstance(prompt, str):
            raise ConfigError(f"prompt {row} must be text, got {quote(prompt)}")
    if records is not None:
        _check_rows("records", records, len(images))
    if len(images):
        _check_pixels(images)


def _check_rows(name: str, rows: object, count: int) -> None:
    if isinstance(rows, str) or not isinstance(rows, Sequence):
        raise ConfigError(f"{name} must be a list with one entry per image, got {quote(rows)}")
    if len(rows) != count:
        raise ConfigError(f"{count} images need {count} {name}, got {len(rows)}")


def _check_pixels(images: Tensor) -> None:
    low, high = (bound.item() for bound in torch.aminmax(images))
    if math.isnan(low) or math.isnan(high):
        rows = images.isnan().flatten(1).any(1)
        raise RewardError(f"images hold NaN in {_rows(rows)}; the pipeline that drew them failed")
    if low < -_RANGE_SLACK or high > 1 + _RANGE_SLACK:
        raise ConfigError(f"images must lie in [0, 1], got {low:.4g} to {high:.4g}")


def check_scores(
    scores: Tensor, images: Tensor, name: str, *, low: float = -math.inf, high: float = math.inf
) -> Tensor:
    """The scores as (B,) float32 on the images' device; raises RewardError naming the model and the rows."""
    if not isinstance(scores, Tensor) or scores.shape != (len(images),):
        given = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise RewardError(f"{name} must return one score per image, shape ({len(images)},), got {given}")
    if scores.is_complex() or scores.dtype == torch.bool:
        raise RewardError(f"{name} must return numbers, got {scores.dtype}")
    scores = scores.detach().to(images.device, torch.float32)
    broken = ~scores.isfinite()
    if broken.any():
        kinds = " and ".join(sorted({str(value) for value in scores[broken].tolist()}))
        raise RewardError(f"{name} returned {kinds} for {_rows(broken)}")
    outside = (scores < low) | (scores > high)
    if outside.any():
        worst = scores[outside][0].item()
        raise RewardError(
            f"{name} returned {worst:.4g}, outside [{low:.4g}, {high:.4g}], for {_rows(outside)}"
        )
    return scores


def _rows(mask: Tensor) -> str:
    rows = mask.nonzero().flatten().tolist()
    shown = ", ".join(map(str, rows[:_ROWS_SHOWN])) + (", ..." if len(rows) > _ROWS_SHOWN else "")
    return f"row{'s' if len(rows) > 1 else ''} {shown} of {len(mask)}"
