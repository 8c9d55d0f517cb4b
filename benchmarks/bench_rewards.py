"""Scoring: one composite call on a batch, against peers' way: image by image through PIL, a tower per score.

python benchmarks/bench_rewards.py           both sizes
python benchmarks/bench_rewards.py --smoke   small batches, no ViT-L: does it run?
The reference keeps its models loaded and its texts short, as here; it opens no files.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from dfprompt.rewards import (
    AestheticHead,
    AestheticScore,
    ClipScore,
    ClipTower,
    CompositeReward,
    CompositeSettings,
    PickScore,
    Preprocessing,
    as_score,
)
from machine import header

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from tiny_pipelines import clip_tokenizer

WORDS = "a an the in of on at and red blue house horse cat dog snow style anime photo grain film old".split()


def mini_config() -> CLIPConfig:
    """The mini world's CLIP: 64 x 64 pictures, patches of 8, 128 wide."""
    text = {"hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4}
    vision = {
        **{"hidden_size": 128, "intermediate_size": 512, "num_hidden_layers": 4, "num_attention_heads": 4},
        **{"image_size": 64, "patch_size": 8},
    }
    return CLIPConfig(text_config=_text(text), vision_config=vision, projection_dim=128)


def vit_l_config() -> CLIPConfig:
    """CLIP ViT-L/14's size."""
    text = {"hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12, "num_attention_heads": 12}
    vision = {
        **{"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24},
        **{"num_attention_heads": 16, "image_size": 224, "patch_size": 14},
    }
    return CLIPConfig(text_config=_text(text), vision_config=vision, projection_dim=768)


def _text(config: dict[str, int]) -> dict[str, int]:
    tokenizer = clip_tokenizer()
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    return {**config, **ends, "vocab_size": len(tokenizer), "max_position_embeddings": 77}


def make_tower(config: CLIPConfig, name: str) -> ClipTower:
    """Random weights of a configuration's size."""
    size = config.vision_config.image_size
    return ClipTower(CLIPModel(config), clip_tokenizer(), Preprocessing(size, (size, size)), name=name)


class OneByOne:
    """How peers score: each score prepares each PIL picture for itself and runs its own tower on it."""

    def __init__(self, clip: ClipTower, head: AestheticHead, preference: ClipTower | None) -> None:
        self.clip, self.head, self.preference = clip, head, preference
        size = clip.model.config.vision_config.image_size
        self.processor = CLIPImageProcessorPil(
            size={"shortest_edge": size}, crop_size={"height": size, "width": size}
        )

    @torch.no_grad()
    def __call__(self, pictures: Sequence[Image.Image], prompts: Sequence[str]) -> Tensor:
        rewards = []
        for picture, prompt in zip(pictures, prompts, strict=True):
            reward = self.head(self._image(self.clip, picture))
            reward = reward + 20 * (self._cosine(self.clip, picture, prompt) - 0.28).clamp_max(0)
            if self.preference is not None:
                scale = self.preference.model.logit_scale.exp()
                reward = reward + (scale * self._cosine(self.preference, picture, prompt) - 18).clamp_max(0)
            rewards.append(reward)
        return torch.cat(rewards)

    def _image(self, tower: ClipTower, picture: Image.Image) -> Tensor:
        pixels = self.processor([picture], return_tensors="pt").pixel_values
        features = tower.model.get_image_features(pixel_values=pixels).pooler_output
        return features / features.norm(dim=-1, keepdim=True)

    def _cosine(self, tower: ClipTower, picture: Image.Image, prompt: str) -> Tensor:
        tokens = tower.tokenizer([prompt], return_tensors="pt")
        features = tower.model.get_text_features(**tokens).pooler_output
        text = features / features.norm(dim=-1, keepdim=True)
        return (self._image(tower, picture) * text).sum(1)


def compare(title: str, config: CLIPConfig, *, edge: int, batch: int, preference: bool, rounds: int) -> None:
    """Alternate both ways on the same pictures, new prompts each round, and print the ratio of images/s."""
    clip = make_tower(config, "clip")
    other = make_tower(config, "preference") if preference else None
    head = AestheticHead((config.projection_dim, 1024, 128, 64, 16, 1))
    ours = CompositeReward(
        CompositeSettings(d=1.0 if other else 0.0),
        aesthetic=AestheticScore(clip, head),
        clip=ClipScore(clip),
        preference=PickScore(other) if other else as_score(lambda images, prompts, records=None: images),
    )
    theirs = OneByOne(clip, head, other)
    images = (torch.rand(batch, 3, edge, edge) * 255).round() / 255
    pictures = [Image.fromarray((image * 255).byte().permute(1, 2, 0).numpy()) for image in images]
    difference = (ours(images, prompts_of(batch, 0)) - theirs(pictures, prompts_of(batch, 0))).abs().max()
    ratios, speeds = [], []
    for round_ in range(1, rounds + 1):
        prompts = prompts_of(batch, round_)  # new ones: their encoding is paid for here as there
        mine = seconds(lambda: ours(images, prompts))  # noqa: B023
        peer = seconds(lambda: theirs(pictures, prompts))  # noqa: B023
        ratios.append(peer / mine)
        speeds.append((batch / mine, batch / peer))
    fast, slow = (statistics.median(column) for column in zip(*speeds, strict=True))
    print(
        f"  {title}, batch {batch} of {edge} x {edge}: {fast:.1f} images/s against {slow:.1f} one by one, "
        f"{statistics.median(ratios):.2f}x (rounds {min(ratios):.2f} to {max(ratios):.2f}); "
        f"largest difference {difference:.1e}"
    )


def prompts_of(count: int, seed: int) -> list[str]:
    """Different short prompts for every round."""
    return [
        f"{WORDS[(row + seed) % len(WORDS)]} {WORDS[row % len(WORDS)]} {seed} {row}" for row in range(count)
    ]


def seconds(work: Callable[[], object]) -> float:
    """The time of one call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    """Both sizes, or a smoke run."""
    smoke = "--smoke" in sys.argv
    torch.manual_seed(0)
    print(header("Rewards: composite scoring in batches against one-by-one PIL scoring"))
    rounds = 2 if smoke else 15
    batch = 8 if smoke else 32
    compare(
        "mini size, 3 scores on 2 towers", mini_config(), edge=64, batch=batch, preference=True, rounds=rounds
    )
    if not smoke:
        compare(
            "ViT-L/14 size, 2 scores on 1 tower",
            vit_l_config(),
            edge=512,
            batch=4,
            preference=False,
            rounds=5,
        )


if __name__ == "__main__":
    main()
