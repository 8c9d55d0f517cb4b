"""A painter instead of a pipeline: pictures whose brightness and redness follow the words."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from dfprompt.data.confidence import Instruments
from dfprompt.rewards import Reward

# What a modifier adds to brightness (aesthetic) and to redness (what was asked).
EFFECTS = {"bright": (0.2, 0.0), "dark": (-0.2, 0.0), "pretty": (0.15, -0.1), "odd": (0.0, 0.05)}
SIZE = 8


class Painter:
    """Draws (3, 8, 8) pictures from the words and the seed alone, and remembers what it drew."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int]] = []
        self.asked: list[str] = []

    def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        self.drawn += zip(prompts, seeds, strict=True)
        return torch.stack([self.paint(*each) for each in zip(prompts, seeds, strict=True)])

    def paint(self, prompt: str, seed: int) -> Tensor:
        light = torch.rand(3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed)) * 0.1 + 0.4
        for word, (brightness, redness) in EFFECTS.items():
            if word in prompt:
                light = light + brightness
                light[0] += redness
        return light.clamp(0, 1)


def instruments(painter: Painter, **judges: Reward) -> Instruments:
    """Brightness is beauty; how much redder than green a picture is, is how well it keeps to the text."""

    def aesthetic(images: Tensor, prompts: Sequence[str], records: object = None) -> Tensor:
        painter.asked += prompts
        return images.mean((1, 2, 3))

    def clip(images: Tensor, prompts: Sequence[str], records: object = None) -> Tensor:
        return (images[:, 0] - images[:, 1]).mean((1, 2))

    return Instruments(painter, {"aesthetic": aesthetic, "clip": clip, **judges})
