"""Pictures between tensors and PIL: rounding, shapes, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from dfprompt.errors import ConfigError
from dfprompt.images.tensors import to_levels, to_pil, to_tensor


@pytest.mark.parametrize(
    ("value", "level"),
    [
        (0.0, 0),
        (1.0, 255),
        (0.5, 128),
        (0.4999 / 255, 0),
        (0.5001 / 255, 1),
        (254.49 / 255, 254),
        (1.0005, 255),
    ],
)
def test_levels_are_rounded_to_the_nearest(value: float, level: int) -> None:
    assert to_levels(torch.full((1, 3, 1, 1), value)).flatten().tolist() == [level] * 3


def test_every_level_survives_the_way_there_and_back() -> None:
    levels = torch.arange(256, dtype=torch.float32).div(255).view(1, 1, 16, 16).expand(1, 3, 16, 16)
    images = to_pil(levels)
    assert torch.equal(to_tensor(images), levels)
    assert np.array_equal(np.asarray(images[0])[..., 0].ravel(), np.arange(256))


def test_rows_and_columns_stay_where_they_are() -> None:
    pixels = torch.zeros(1, 3, 2, 4)
    pixels[0, 2, 1, 3] = 1.0  # blue, lower right corner
    image = to_pil(pixels)[0]
    assert image.size == (4, 2)
    assert image.getpixel((3, 1)) == (0, 0, 255)
    assert image.getpixel((0, 0)) == (0, 0, 0)


def test_half_precision_and_gradients_are_taken() -> None:
    pixels = torch.full((1, 3, 2, 2), 0.5, dtype=torch.float16, requires_grad=True)
    assert to_levels(pixels).flatten().tolist() == [128] * 12


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -0.5, 1.5])
def test_values_that_are_no_picture_are_refused(value: float) -> None:
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, 1, 1, 0] = value
    with pytest.raises(ConfigError, match="must lie in"):
        to_levels(pixels)


@pytest.mark.parametrize("shape", [(3, 2, 2), (1, 4, 2, 2), (1, 1, 2, 2)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="must have the shape"):
        to_levels(torch.zeros(shape))


@pytest.mark.parametrize(
    "images",
    [
        [],
        [Image.new("RGB", (2, 2)), Image.new("RGB", (2, 3))],
        [Image.new("L", (2, 2))],
    ],
)
def test_images_of_several_kinds_make_no_tensor(images: list[Image.Image]) -> None:
    with pytest.raises(ConfigError, match="one size"):
        to_tensor(images)
