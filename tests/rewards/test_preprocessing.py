"""Preprocessing on tensors against transformers' processors on PIL pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import CLIPImageProcessorPil

from dfprompt.errors import LoadError
from dfprompt.rewards import Preprocessing, read_preprocessing
from tiny_rewards import pictures

# One level of 255 in pixel values, divided by the smallest channel deviation.
ONE_LEVEL = 1 / 255 / 0.26130258


def _pil(image: Tensor) -> Image.Image:
    return Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())


def _compare(mine: Tensor, reference: Tensor) -> None:
    """The same levels everywhere: what remains is float32 rounding, 10,000 times smaller than one level."""
    torch.testing.assert_close(mine, reference, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    "size", [(64, 64), (128, 96), (200, 77), (50, 40), (63, 300), (301, 223), (1, 500), (512, 512), (65, 65)]
)
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"crop_size": {"height": 48, "width": 56}},
        {"size": {"height": 64, "width": 64}},
        {"resample": 2},
        {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]},
        {"crop_size": {"height": 71, "width": 80}},
    ],
    ids=["clip", "smaller crop", "stretch", "bilinear", "other statistics", "crop larger than the picture"],
)
def test_equal_to_the_pil_processor(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, object]
) -> None:
    defaults = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    processor = CLIPImageProcessorPil(**{**defaults, **settings})
    processor.save_pretrained(tmp_path)
    images = pictures(2, *size)
    reference = processor([_pil(image) for image in images], return_tensors="pt").pixel_values
    _compare(read_preprocessing(tmp_path)(images), reference)


def test_at_clips_own_size() -> None:
    images = pictures(1, 512, 384)
    reference = CLIPImageProcessorPil()([_pil(images[0])], return_tensors="pt").pixel_values
    _compare(Preprocessing(224, (224, 224))(images), reference)


@pytest.mark.parametrize("size", [(512, 384), (300, 512), (224, 224), (100, 41), (224, 90)])
def test_padding_puts_the_longer_edge_in_a_black_square(size: tuple[int, int]) -> None:
    images = pictures(1, *size)
    scale = 224 / max(size)
    height, width = round(size[0] * scale), round(size[1] * scale)
    resized = _pil(images[0]).resize((width, height), Image.Resampling.BICUBIC)
    left, top = (224 - width) // 2, (224 - height) // 2
    square = ImageOps.expand(resized, (left, top, 224 - width - left, 224 - height - top), fill=0)
    reference = CLIPImageProcessorPil()([square], return_tensors="pt").pixel_values
    _compare(Preprocessing(224, (224, 224), fit="pad")(images), reference)


def test_a_tensor_and_the_file_saved_from_it_are_the_same_picture() -> None:
    drawn = torch.rand(1, 3, 70, 90, generator=torch.Generator().manual_seed(0))  # not at whole levels
    saved = torch.floor(drawn * 255 + 0.5) / 255
    preprocess = Preprocessing(64, (64, 64))
    assert torch.equal(preprocess(drawn), preprocess(saved))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types_are_read_as_their_levels(dtype: torch.dtype) -> None:
    images = pictures(1)
    pixels = Preprocessing(64, (64, 64))(images.to(dtype))
    assert pixels.dtype == torch.float32
    limit = 1.01 * ONE_LEVEL if dtype != torch.bfloat16 else 2.01 * ONE_LEVEL
    assert (pixels - Preprocessing(64, (64, 64))(images)).abs().max() <= limit


def test_a_processor_config_with_the_image_processor_inside_is_read(tmp_path: Path) -> None:
    inner = {"size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}, "resample": 3}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": inner}))
    assert read_preprocessing(tmp_path) == Preprocessing(40, (32, 32))


def test_old_configs_with_plain_numbers_are_read(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 224, "crop_size": 224}))
    assert read_preprocessing(tmp_path) == Preprocessing(224, (224, 224))


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"do_resize": False}, "do_resize is off"),
        ({"resample": 0}, "resample 0"),
        ({"size": {"longest_edge": 64}}, "neither a shortest edge nor a pair"),
        ({"size": {"height": 64, "width": 64}, "crop_size": {"height": 32, "width": 32}}, "stretching"),
    ],
)
def test_a_processor_that_cannot_be_followed_is_named(
    tmp_path: Path, config: dict[str, object], said: str
) -> None:
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(LoadError, match=said):
        read_preprocessing(tmp_path)


def test_missing_and_damaged_configs_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no preprocessor_config\.json"):
        read_preprocessing(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(LoadError, match="not a JSON file"):
        read_preprocessing(tmp_path)
