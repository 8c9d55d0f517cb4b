"""How the judge is trained: on renders' facts only, never on captions, generated pictures or ratings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from dfprompt.mini.judge import CLASSES, labels
from dfprompt.mini.renderer import Scene
from worlds.mini.autoencoder import to_tensor
from worlds.mini.loop import StepLoss, StepRandom, device_of


def judge_loss(
    renders: npt.NDArray[np.uint8], decoded: npt.NDArray[np.uint8], scenes: Sequence[Scene], batch: int
) -> StepLoss:
    """A step's loss: name the facts of renders, half of them after a trip through the autoencoder.

    Light noise and shifts of brightness keep the judge from leaning on anything a generator may not draw.
    """
    truth = labels(scenes)

    def loss(judge: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = random.numpy.integers(len(renders), size=batch)
        pictures = to_tensor(renders[index])
        half = batch // 2
        pictures[:half] = to_tensor(decoded[index[:half]])
        strength = torch.rand((batch, 1, 1, 1), generator=random.torch) * 0.08
        pictures = pictures + strength * torch.randn(pictures.shape, generator=random.torch)
        pictures = pictures + (torch.rand((batch, 3, 1, 1), generator=random.torch) - 0.5) * 0.08
        logits = {name: value.cpu() for name, value in judge(pictures.to(device_of(judge))).items()}
        rows = torch.from_numpy(index)
        parts = {k: functional.cross_entropy(logits[k], truth[k][rows]) for k in CLASSES}
        hits = {k: (logits[k].argmax(1) == truth[k][rows]).float().mean().item() for k in CLASSES}
        return sum(parts.values(), torch.zeros(())), hits

    return loss
