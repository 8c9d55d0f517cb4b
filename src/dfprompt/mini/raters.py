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


# Tuned once, before any reward or policy was trained; experiments/mini-raters says how, on which pictures.
# A liked value is a measure's own number; widths are 2.5 or more spreads of plain pictures.
LIKINGS: dict[str, tuple[Liking, ...]] = {
    "hill": (
        Liking("contrast", 0.03, 0.0575, 1.6),
        Liking("saturation", 0.25, 0.05, 1.8),
        Liking("grain", 0.0015, 0.0047, 0.6),
        Liking("backdrop", 0.01, 0.027, 0.4),
        Liking("gloss", -0.005, 0.0225, 1.8),
        Liking("subject_size", 0.27, 0.095, 1.8),
    ),
    "night": (
        Liking("brightness", 0.27, 0.065, 1.8),
        Liking("contrast", 0.19, 0.0575, 1.8),
        Liking("grain", 0.001, 0.0115, 0.6),
        Liking("backdrop", 0.088, 0.0315, 0.7),
        Liking("subject_size", 0.21, 0.095, 1.8),
        Liking("subject_x", 0, 0.25, 1.3),
    ),
    "desert": (
        Liking("brightness", 0.63, 0.06, 1.8),
        Liking("warmth", 0.42, 0.11, 1.8),
        Liking("saturation", 0.39, 0.09, 0.9),
        Liking("sharpness", 0.38, 0.055, 1.8),
        Liking("grain", 0.0015, 0.0115, 0.6),
        Liking("spotlight", 0.06, 0.115, 0.5),
        Liking("subject_size", 0.25, 0.095, 0.6),
    ),
    "sea": (
        Liking("brightness", 0.54, 0.085, 1.4),
        Liking("warmth", -0.24, 0.08, 1.8),
        Liking("saturation", 0.37, 0.05, 1.8),
        Liking("sharpness", 0.165, 0.055, 1.8),
        Liking("grain", 0.002, 0.004, 0.6),
        Liking("subject_size", 0.24, 0.095, 0.6),
    ),
    "snow": (
        Liking("brightness", 0.68, 0.06, 1.8),
        Liking("saturation", 0.3, 0.05, 1.1),
        Liking("sharpness", 0.405, 0.055, 1.8),
        Liking("grain", 0.0015, 0.0115, 0.6),
        Liking("backdrop", 0.046, 0.027, 1.8),
        Liking("subject_size", 0.25, 0.095, 0.6),
    ),
    "forest": (
        Liking("brightness", 0.51, 0.06, 1.8),
        Liking("warmth", 0.34, 0.08, 1.7),
        Liking("saturation", 0.37, 0.05, 1.8),
        Liking("sharpness", 0.445, 0.055, 1.5),
        Liking("grain", 0.005, 0.0067, 0.6),
        Liking("subject_size", 0.3, 0.25, 0.6),
    ),
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
