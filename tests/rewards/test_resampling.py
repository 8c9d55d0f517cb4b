"""Resizing against Pillow itself, and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dfprompt.rewards.resampling import KERNELS, resampling_matrix, resize_levels, to_8_bit
from tiny_rewards import pictures

_PILLOW = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def _by_pillow(levels: torch.Tensor, size: tuple[int, int], kernel: str) -> torch.Tensor:
    picture = Image.fromarray(levels[0].byte().permute(1, 2, 0).numpy())
    resized = picture.resize((size[1], size[0]), _PILLOW[kernel])
    return torch.from_numpy(np.asarray(resized).astype(np.float32)).permute(2, 0, 1)[None]


def test_halving_a_row_of_four_by_hand() -> None:
    # Triangle of reach 2 around 1.0: pixel centres .5, 1.5, 2.5 weigh .75, .75, .25.
    expected = torch.tensor([[3.0, 3.0, 1.0, 0.0], [0.0, 1.0, 3.0, 3.0]]) / 7
    torch.testing.assert_close(resampling_matrix(4, 2, "bilinear"), expected.double(), rtol=0, atol=2**-22)


def test_the_cubic_kernel_by_hand() -> None:
    # Doubling: new pixel 2 lies at 1.25, at distances .75, .25, 1.25 from the centres .5, 1.5, 2.5; a = -0.5.
    near = [1.5 * d**3 - 2.5 * d**2 + 1 for d in (0.75, 0.25)]
    far = -0.5 * (1.25**3 - 5 * 1.25**2 + 8 * 1.25 - 4)
    weights = torch.tensor([near[0], near[1], far, 0.0], dtype=torch.float64)
    torch.testing.assert_close(resampling_matrix(4, 8)[2], weights / weights.sum(), rtol=0, atol=2**-22)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("size", [(64, 64), (31, 47), (200, 130), (1, 90), (90, 2), (65, 33)])
@pytest.mark.parametrize("target", [(64, 64), (32, 40), (224, 100)])
def test_levels_equal_pillows(kernel: str, size: tuple[int, int], target: tuple[int, int]) -> None:
    levels = to_8_bit(pictures(1, *size) * 255)
    assert torch.equal(resize_levels(levels, target, kernel=kernel), _by_pillow(levels, target, kernel))


def test_sharp_edges_overshoot_and_are_clipped_as_pillow_clips_them() -> None:
    levels = torch.zeros(1, 3, 40, 40)
    levels[:, :, 10:30:8, 5:35] = 255
    levels[:, :, 10:30, 5:35:8] = 255
    resized = resize_levels(levels, (64, 64))
    assert resized.min() == 0
    assert resized.max() == 255
    assert torch.equal(resized, _by_pillow(levels, (64, 64), "bicubic"))


@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    target=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    data=st.data(),
)
def test_a_window_is_the_same_as_cutting_the_whole(
    height: int, width: int, target: tuple[int, int], data: st.DataObject
) -> None:
    levels = to_8_bit(pictures(1, height, width) * 255)
    top, left = data.draw(st.integers(0, target[0] - 1)), data.draw(st.integers(0, target[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, target[0])), data.draw(st.integers(left + 1, target[1]))
    cut = resize_levels(levels, target)[:, :, top:bottom, left:right]
    assert torch.equal(resize_levels(levels, target, (top, bottom, left, right)), cut)


@given(length=st.integers(1, 300), target=st.integers(1, 300), kernel=st.sampled_from(list(KERNELS)))
def test_rows_sum_to_one_so_that_a_flat_picture_stays_flat(length: int, target: int, kernel: str) -> None:
    matrix = resampling_matrix(length, target, kernel)
    assert matrix.shape == (target, length)
    torch.testing.assert_close(matrix.sum(1), torch.ones(target).double(), rtol=0, atol=1e-4)


def test_a_very_thin_picture_costs_only_its_window() -> None:
    levels = to_8_bit(pictures(1, 1, 5000) * 255)
    kept = resize_levels(levels, (224, 224 * 5000), (0, 224, 224 * 2500, 224 * 2500 + 224))
    assert kept.shape == (1, 3, 224, 224)  # the whole would hold 750 million levels
