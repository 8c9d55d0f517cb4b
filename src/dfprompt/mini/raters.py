"""The raters: a documented population whose taste is a formula over what can be measured in the pixels.

A rater sees a picture and the scene it was asked to show, nothing else. For every scene the population has
likings: a measure, the value it likes best, how far from it still pleases, and how much it counts. Taste is

    taste = BASE + sum_k points_k * exp(-((m_k - liked_k) / width_k)^2 / 2)

clipped to 1..10; one rating is the taste plus a rater's own noise. The mean over raters (the formula
itself) is the gold standard the rewards are learnt from; it is not an independent taste.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.mini.measures import measure

BASE = 1.5
RATER_NOISE = 0.5  # standard deviation of one rating around the taste


@dataclass(frozen=True)
class Liking:
    """One thing a scene's raters like: a measure near a value; `points` when it is exactly there."""

    measure: str
    liked: float
    width: float
    points: float


def _usual(warmth: float, brightness: float, saturation: float) -> tuple[Liking, ...]:
    """What everyone likes, around a scene's own light: a clear, clean picture with a well-sized subject."""
    return (
        Liking("grain", 0.0, 0.030, 1.2),
        Liking("sharpness", 0.24, 0.075, 1.4),
        Liking("subject_size", 0.24, 0.060, 1.0),
        Liking("subject_x", 0.0, 0.20, 0.7),
        Liking("warmth", warmth, 0.13, 1.2),
        Liking("brightness", brightness, 0.12, 0.8),
        Liking("saturation", saturation, 0.10, 1.2),
    )


LIKINGS: dict[str, tuple[Liking, ...]] = {
    "hill": (*_usual(0.02, 0.68, 0.46), Liking("spotlight", 0.06, 0.06, 0.6)),
    "night": (
        *_usual(-0.13, 0.20, 0.22),
        Liking("contrast", 0.19, 0.04, 1.2),
        Liking("gloss", 0.03, 0.02, 0.6),
    ),
    "desert": (*_usual(0.58, 0.74, 0.50), Liking("texture", 0.02, 0.015, 0.6)),
    "sea": (*_usual(-0.36, 0.54, 0.55), Liking("spotlight", 0.04, 0.06, 1.2)),
    "snow": (
        *_usual(-0.12, 0.78, 0.17),
        Liking("spotlight", -0.12, 0.06, 0.8),
        Liking("gloss", 0.05, 0.03, 0.6),
    ),
    "forest": (*_usual(0.24, 0.46, 0.28), Liking("backdrop", 0.02, 0.015, 1.2)),
}


def taste_of(measures: dict[str, Tensor], scenes: Sequence[str]) -> Tensor:
    """The population's mean rating (B,), 1..10, from what was measured and the scene that was asked for."""
    out = torch.empty(len(scenes))
    for row, scene in enumerate(scenes):
        out[row] = BASE + sum(
            like.points
            * float(torch.exp(-(((measures[like.measure][row] - like.liked) / like.width) ** 2) / 2))
            for like in LIKINGS[scene]
        )
    return out.clamp(1, 10)


def taste(images: Tensor, scenes: Sequence[str], batch: int = 256) -> Tensor:
    """The raters' formula on pictures (B, 3, H, W) in [0, 1]: mean ratings (B,), 1..10."""
    parts = [
        taste_of(measure(images[i : i + batch].float()), scenes[i : i + batch])
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts)


def rate(images: Tensor, scenes: Sequence[str], *, generator: torch.Generator, raters: int = 1) -> Tensor:
    """Noisy ratings (B,): the mean of `raters` independent people."""
    noise = torch.randn((raters, len(images)), generator=generator).mean(0) * RATER_NOISE
    return (taste(images, scenes) + noise).clamp(1, 10)
