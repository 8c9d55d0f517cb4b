"""The learnt tastes: an aesthetic head on the mini CLIP and a preference model, trained on noisy ratings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPModel, CLIPTokenizer

from dfprompt.mini.raters import RATER_NOISE, taste
from worlds.mini.contrast import embed_images, embed_texts, to_pixels
from worlds.mini.loop import StepLoss, StepRandom, device_of
from worlds.mini.text import tokenize

HEAD_WIDTHS = (128, 256, 64, 1)
# The constants of equation 4 for this world, chosen on the headroom's pictures before any training on
# rewards. `dfprompt calibrate` would set zeta to what plain pictures score; but the mini CLIP learnt from
# captions that name their style, so a picture with any style lies far below every plain one (0.84): at 0.6
# the gate ate all that ranges and weights can bring. 0.4 parts styled pictures that show what was asked from
# those that lost it. The preference model was told that showing what was asked counts; kappa 6 is what the
# best plain pictures get, so that it speaks for nearly every picture.
REWARD = """[composite]
a = 1.0
b = 0.0
c = 5.0
zeta = 0.4
d = 1.0
kappa = 6.0
"""


@dataclass(frozen=True)
class Rated:
    """Pictures the raters saw: uint8 (M, 64, 64, 3), each with its prompt, scene and mean taste."""

    pictures: npt.NDArray[np.uint8]
    prompts: list[str]
    scenes: list[str]
    taste: Tensor


def have_rated(pictures: npt.NDArray[np.uint8], prompts: list[str], scenes: list[str]) -> Rated:
    """Show pictures to the raters."""
    means = [
        taste(torch.from_numpy(pictures[i : i + 256]).permute(0, 3, 1, 2).float() / 255, scenes[i : i + 256])
        for i in range(0, len(pictures), 256)
    ]
    return Rated(pictures, prompts, scenes, torch.cat(means))


@torch.no_grad()
def image_features(clip: CLIPModel, pictures: npt.NDArray[np.uint8], batch: int = 256) -> Tensor:
    """L2-normalised image embeddings (M, D) of uint8 pictures."""
    device = device_of(clip)
    parts = [
        embed_images(clip, to_pixels(pictures[i : i + batch]).to(device))
        for i in range(0, len(pictures), batch)
    ]
    return torch.cat(parts).cpu()


def aesthetic_loss(features: Tensor, tastes: Tensor, batch: int) -> StepLoss:
    """A step's loss: the squared error to a rater's noisy rating, drawn anew each time."""

    def loss(head: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = torch.from_numpy(random.numpy.integers(len(features), size=batch))
        rating = (tastes[index] + RATER_NOISE * torch.randn(batch, generator=random.torch)).clamp(1, 10)
        device = device_of(head)
        return functional.mse_loss(head(features[index].to(device)), rating.to(device)), {}

    return loss


def preference_loss(rated: Rated, tokenizer: CLIPTokenizer, batch: int) -> StepLoss:
    """A step's loss: which of two pictures of one scene a rater picks (PickScore's softmax over the pair).

    The prompt is the first picture's; half of the pairs show something else in the second, and showing
    what was asked counts, as raters of real preference sets are told.
    """
    ids = tokenize(tokenizer, rated.prompts)
    by_scene: dict[str, npt.NDArray[np.int64]] = {
        name: np.flatnonzero(np.array(rated.scenes) == name) for name in sorted(set(rated.scenes))
    }
    same_prompt = _partners(rated.prompts)

    def loss(clip: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        first = random.numpy.integers(len(rated.prompts), size=batch)
        second = np.array([_partner(random.numpy, i, same_prompt, by_scene, rated) for i in first])
        noise = RATER_NOISE * torch.randn((2, batch), generator=random.torch)
        mismatch = torch.tensor(
            [rated.prompts[a] != rated.prompts[b] for a, b in zip(first, second, strict=True)]
        )
        margin = rated.taste[first] + noise[0] - rated.taste[second] - noise[1] + MISMATCH_PENALTY * mismatch
        device = device_of(clip)
        pixels = to_pixels(rated.pictures[np.concatenate([first, second])]).to(device)
        text = embed_texts(clip, ids[torch.from_numpy(first)].to(device))
        images = embed_images(clip, pixels).view(2, batch, -1)
        logits = clip.logit_scale.exp() * (images * text).sum(-1)
        wins = (margin > 0).to(device)
        value = functional.binary_cross_entropy_with_logits(logits[0] - logits[1], wins.float())
        return value, {"accuracy": ((logits[0] > logits[1]) == wins).float().mean().item()}

    return loss


MISMATCH_PENALTY = 1.5  # how many points of taste a rater gives to the picture that shows what was asked


def _partners(prompts: Sequence[str]) -> dict[str, npt.NDArray[np.int64]]:
    rows: dict[str, list[int]] = {}
    for index, prompt in enumerate(prompts):
        rows.setdefault(prompt, []).append(index)
    return {prompt: np.array(index) for prompt, index in rows.items()}


def _partner(
    rng: np.random.Generator,
    row: int,
    same_prompt: dict[str, npt.NDArray[np.int64]],
    by_scene: dict[str, npt.NDArray[np.int64]],
    rated: Rated,
) -> int:
    """Half of the time a picture of the same prompt, where there is one; else of the same scene."""
    twins = same_prompt[rated.prompts[row]]
    pool = twins if len(twins) > 1 and rng.random() < 0.5 else by_scene[rated.scenes[row]]
    return int(pool[rng.integers(len(pool))])
