"""Two more populations of raters beside the mini world's own: whom one policy may write for in turn.

Painters' friends like visible brushwork, soft edges and warm colours; friends of graphics like hard edges,
strong contrast and strong colours on clean flats. Both judge a picture as the world's own raters do, by a
formula over its pixels, but against what is usual for the scene that was asked for:

    taste = BASE + sum_k points_k * exp(-((m_k - usual_k(scene) - more_k) / width_k)^2 / 2)

clipped to 1..10. Nothing was ever trained on the formula itself, only on noisy ratings by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.mini.measures import measure
from dfprompt.mini.raters import BASE


@dataclass(frozen=True)
class Wish:
    """One thing a population likes: so much `more` of a measure than usual; `points` when exactly so."""

    measure: str
    more: float
    width: float
    points: float


# Written down before any head or policy was trained on them, from what single words do to renders and from
# plain pictures; experiments/tastes says how.
POPULATIONS: dict[str, tuple[Wish, ...]] = {
    "painted": (
        Wish("texture", 0.020, 0.015, 2.0),
        Wish("sharpness", -0.09, 0.06, 2.0),
        Wish("warmth", 0.15, 0.15, 1.0),
        Wish("saturation", 0.05, 0.12, 0.8),
        Wish("subject_size", 0.04, 0.09, 0.8),
    ),
    "graphic": (
        Wish("sharpness", 0.10, 0.07, 2.0),
        Wish("contrast", 0.06, 0.05, 1.6),
        Wish("saturation", 0.15, 0.12, 1.6),
        Wish("grain", 0.0, 0.004, 0.8),
        Wish("subject_size", 0.04, 0.09, 0.8),
    ),
}
# Means of plain pictures of each scene.
USUAL: dict[str, dict[str, float]] = {
    "hill": {
        "contrast": 0.1448,
        "warmth": -0.1366,
        "saturation": 0.3635,
        "sharpness": 0.1824,
        "grain": 0.0016,
        "texture": 0.0093,
        "subject_size": 0.1971,
    },
    "night": {
        "contrast": 0.1525,
        "warmth": -0.1401,
        "saturation": 0.1814,
        "sharpness": 0.1435,
        "grain": 0.0012,
        "texture": 0.0037,
        "subject_size": 0.1487,
    },
    "desert": {
        "contrast": 0.1488,
        "warmth": 0.3681,
        "saturation": 0.3849,
        "sharpness": 0.1477,
        "grain": 0.0012,
        "texture": 0.0049,
        "subject_size": 0.1579,
    },
    "sea": {
        "contrast": 0.1565,
        "warmth": -0.3092,
        "saturation": 0.4251,
        "sharpness": 0.1641,
        "grain": 0.0021,
        "texture": 0.0105,
        "subject_size": 0.1883,
    },
    "snow": {
        "contrast": 0.1401,
        "warmth": -0.0899,
        "saturation": 0.1592,
        "sharpness": 0.2063,
        "grain": 0.0013,
        "texture": 0.0044,
        "subject_size": 0.1773,
    },
    "forest": {
        "contrast": 0.1868,
        "warmth": 0.1135,
        "saturation": 0.2106,
        "sharpness": 0.2796,
        "grain": 0.0047,
        "texture": 0.0469,
        "subject_size": 0.3276,
    },
}


def rate_by(population: str, measures: dict[str, Tensor], scenes: Sequence[str]) -> Tensor:
    """A population's mean rating (B,), 1..10, from what was measured and the scene that was asked for."""
    out = torch.full((len(scenes),), BASE)
    for wish in POPULATIONS[population]:
        usual = torch.tensor([USUAL[scene][wish.measure] for scene in scenes])
        off = (measures[wish.measure].float().cpu() - usual - wish.more) / wish.width
        out += wish.points * torch.exp(-(off**2) / 2)
    return out.clamp(1, 10)


def population_taste(population: str, images: Tensor, scenes: Sequence[str], batch: int = 256) -> Tensor:
    """A population's formula on pictures (B, 3, H, W) in [0, 1]: mean ratings (B,), 1..10."""
    parts = [
        rate_by(population, measure(images[i : i + batch].float()), scenes[i : i + batch])
        for i in range(0, len(images), batch)
    ]
    return torch.cat(parts)
