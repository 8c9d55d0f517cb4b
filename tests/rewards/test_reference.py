"""Our numbers against a naive scorer: PIL pictures, transformers' processors, one picture at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPModel, CLIPProcessor

from dfprompt.rewards import ScoreLoader
from tiny_rewards import pictures, prompts, published_head

# 64 is the towers' own size; the others are shrunk, enlarged, cropped along x and along y.
SIZES = [(64, 64), (96, 128), (200, 77), (50, 40), (64, 130)]
# The pixels are equal to the last level (test_preprocessing.py); a batch only moves the last bits.
COSINE_TOLERANCE = 2e-6


def _pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _embed(model: Any, processor: Any, image: Image.Image, text: str) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        pixels = processor(images=[image], return_tensors="pt")
        tokens = processor(text=[text], padding=True, truncation=True, max_length=77, return_tensors="pt")
        seen = model.get_image_features(**pixels).pooler_output[0]
        read = model.get_text_features(**tokens).pooler_output[0]
    return seen / seen.norm(), read / read.norm()


def _naive(folder: Path, images: Tensor, texts: list[str]) -> list[tuple[Tensor, Tensor, float]]:
    """(unit image vector, unit text vector, exp(logit_scale)) per picture."""
    model = CLIPModel.from_pretrained(folder).eval()
    processor = CLIPProcessor.from_pretrained(folder)
    scale = model.logit_scale.exp().item()
    return [
        (*_embed(model, processor, _pil(image), text), scale)
        for image, text in zip(images, texts, strict=True)
    ]


@pytest.mark.parametrize("size", SIZES)
def test_clip_score_is_the_cosine_of_the_processors_own_inputs(
    clip_folder: Path, size: tuple[int, int]
) -> None:
    images, texts = pictures(5, *size), prompts(5)
    expected = torch.tensor([float(seen @ read) for seen, read, _ in _naive(clip_folder, images, texts)])
    scores = ScoreLoader(device="cpu").load_score("clip", str(clip_folder))(images, texts)
    torch.testing.assert_close(scores, expected, rtol=0, atol=COSINE_TOLERANCE)
    assert expected.std() > 0.02


@pytest.mark.parametrize("size", SIZES)
def test_pickscore_is_the_scaled_cosine(pickscore_folder: Path, size: tuple[int, int]) -> None:
    images, texts = pictures(5, *size), prompts(5)
    expected = torch.tensor(
        [scale * float(seen @ read) for seen, read, scale in _naive(pickscore_folder, images, texts)]
    )
    scores = ScoreLoader(device="cpu").load_score("pickscore", str(pickscore_folder))(images, texts)
    tolerance = 20.1 * COSINE_TOLERANCE  # exp(3) is the scale
    torch.testing.assert_close(scores, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("size", SIZES)
def test_the_aesthetic_score_is_the_published_module_on_the_unit_image_vector(
    clip_folder: Path, head_file: Path, size: tuple[int, int]
) -> None:
    images, texts = pictures(5, *size), prompts(5)
    head = published_head()
    with torch.no_grad():
        expected = torch.tensor(
            [head.layers(seen[None]).item() for seen, _, _ in _naive(clip_folder, images, texts)]
        )
    shelf = ScoreLoader(device="cpu")
    scores = shelf.load_score("aesthetic", str(head_file), tower=str(clip_folder))(images, texts)
    tolerance = 50 * COSINE_TOLERANCE  # the head's gain on a unit vector is about 50
    torch.testing.assert_close(scores, expected, rtol=0, atol=tolerance)
    assert expected.std() > 0.05


def test_a_text_longer_than_the_window_is_cut_as_the_processor_cuts_it(clip_folder: Path) -> None:
    images = pictures(1)
    text = "a red house in the snow, " * 30
    (seen, read, _), *_ = _naive(clip_folder, images, [text])
    score = ScoreLoader(device="cpu").load_score("clip", str(clip_folder))
    with pytest.warns(UserWarning, match="reads 77 tokens"):
        scores = score(images, [text])
    assert scores.item() == pytest.approx(float(seen @ read), abs=2e-6)
