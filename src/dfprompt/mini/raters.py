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
        Liking("brightness", 0.604, 0.0605, 1.4),
        Liking("contrast", 0.169, 0.0575, 1.7),
        Liking("warmth", 0.158, 0.0878, 1.2),
        Liking("sharpness", 0.176, 0.0586, 1.8),
        Liking("grain", 0.002, 0.0039, 0.6),
        Liking("spotlight", 0.130, 0.1077, 0.5),
        Liking("subject_size", 0.225, 0.0851, 0.8),
    ),
    "night": (
        Liking("brightness", 0.157, 0.1072, 0.4),
        Liking("warmth", 0.035, 0.0878, 1.8),
        Liking("sharpness", 0.110, 0.1163, 1.0),
        Liking("grain", 0.001, 0.0039, 0.6),
        Liking("spotlight", 0.103, 0.1077, 0.5),
        Liking("backdrop", -0.023, 0.0590, 0.7),
        Liking("subject_size", 0.126, 0.2382, 0.8),
        Liking("subject_x", -0.128, 0.3070, 1.8),
    ),
    "desert": (
        Liking("brightness", 0.638, 0.0605, 1.8),
        Liking("contrast", 0.163, 0.0575, 1.8),
        Liking("warmth", 0.596, 0.0878, 1.2),
        Liking("sharpness", 0.208, 0.0586, 1.8),
        Liking("grain", 0.001, 0.0080, 0.6),
        Liking("subject_size", 0.196, 0.0851, 0.8),
    ),
    "sea": (
        Liking("brightness", 0.497, 0.0605, 1.8),
        Liking("warmth", -0.020, 0.0878, 1.7),
        Liking("sharpness", 0.190, 0.0586, 1.6),
        Liking("grain", 0.002, 0.0039, 0.6),
        Liking("spotlight", 0.099, 0.1077, 1.0),
        Liking("backdrop", 0.043, 0.0285, 0.5),
        Liking("subject_size", 0.223, 0.1520, 0.8),
    ),
    "snow": (
        Liking("brightness", 0.712, 0.0613, 0.3),
        Liking("warmth", 0.220, 0.0878, 1.7),
        Liking("sharpness", 0.217, 0.0586, 0.9),
        Liking("grain", 0.001, 0.0039, 0.6),
        Liking("spotlight", 0.170, 0.1077, 1.8),
        Liking("backdrop", 0.030, 0.0282, 1.8),
        Liking("subject_size", 0.162, 0.0851, 0.8),
    ),
    "forest": (
        Liking("brightness", 0.368, 0.0605, 1.8),
        Liking("contrast", 0.240, 0.0575, 1.1),
        Liking("warmth", 0.305, 0.0878, 1.8),
        Liking("sharpness", 0.353, 0.0586, 0.9),
        Liking("grain", 0.005, 0.0096, 0.6),
        Liking("subject_size", 0.319, 0.0851, 1.8),
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
