"""CMMD against naive double loops and hand-worked numbers, with callables and with a CLIP folder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

import tiny_rewards
from dfprompt.errors import ConfigError, LoadError, RewardError
from dfprompt.evaluation import cmmd
from dfprompt.evaluation.cmmd import Embedder, compute_cmmd, embed_images, resolve_embedder
from dfprompt.rewards import load_tower


def _naive(first: Tensor, second: Tensor, sigma: float, *, unbiased: bool) -> float:
    """The definition, pair by pair, in Python floats."""

    def unit(row: Tensor) -> list[float]:
        values = row.tolist()
        norm = math.sqrt(sum(value * value for value in values))
        return [value / norm for value in values]

    def kernel(a: list[float], b: list[float]) -> float:
        return math.exp(-sum((p - q) ** 2 for p, q in zip(a, b, strict=True)) / (2 * sigma * sigma))

    def within(rows: list[list[float]]) -> float:
        pairs = [(i, j) for i in range(len(rows)) for j in range(len(rows)) if not (unbiased and i == j)]
        return sum(kernel(rows[i], rows[j]) for i, j in pairs) / len(pairs)

    x, y = [unit(row) for row in first], [unit(row) for row in second]
    across = sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))
    return 1000 * (within(x) + within(y) - 2 * across)


def _vectors(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed)) + shift


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize("sigma", [10.0, 0.5])
def test_against_double_loops(unbiased: bool, sigma: float, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = _vectors(7, 1), _vectors(5, 2, shift=0.5)
    expected = _naive(first, second, sigma, unbiased=unbiased)
    assert compute_cmmd(first, second, sigma=sigma, unbiased=unbiased) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(cmmd, "_ROWS_AT_ONCE", 2)
    assert compute_cmmd(first, second, sigma=sigma, unbiased=unbiased) == pytest.approx(expected, rel=1e-9)


def test_by_hand() -> None:
    """One vector each, at right angles: |x - y|^2 = 2, so 1000 (1 + 1 - 2 exp(-2 / 200)) = 19.9003."""
    found = compute_cmmd(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.2]]))
    assert found == pytest.approx(2000 * (1 - math.exp(-0.01)), rel=1e-12)
    assert found == pytest.approx(19.9003, abs=1e-4)


def test_equal_sets_are_nothing_apart_and_shifted_ones_further() -> None:
    base = _vectors(40, 3)
    assert compute_cmmd(base, base.flip(0)) == pytest.approx(0, abs=1e-9)
    distances = [compute_cmmd(base, _vectors(40, 4, shift)) for shift in (0.0, 0.5, 2.0)]
    assert distances == sorted(distances)
    assert distances[2] > 3 * distances[0]
    assert compute_cmmd(base, _vectors(40, 4)) == pytest.approx(compute_cmmd(_vectors(40, 4), base))


def test_unbiased_estimates_of_one_distribution_lie_around_zero() -> None:
    pairs = [(_vectors(20, 2 * seed), _vectors(20, 2 * seed + 1)) for seed in range(60)]
    unbiased = [compute_cmmd(x, y, unbiased=True) for x, y in pairs]
    assert min(unbiased) < 0 < max(unbiased)
    biased = sum(compute_cmmd(x, y) for x, y in pairs) / 60
    assert abs(sum(unbiased) / 60) < 0.1 * biased


def test_precision_of_near_vectors_survives() -> None:
    """In float32 the three sums, each near 1, would leave nothing of a distance of 1e-7."""
    base = torch.randn(50, 6, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    moved = base + 0.01
    expected = _naive(base, moved, 10.0, unbiased=False)
    assert compute_cmmd(base, moved) == pytest.approx(expected, rel=1e-6)


def measured(first: torch.Tensor, second: torch.Tensor, embedder: Embedder) -> float:
    embed = resolve_embedder(embedder)
    return compute_cmmd(*(embed_images(images, embed, batch_size=2) for images in (first, second)))


def test_pictures_by_callable_and_by_folder(tmp_path: Path) -> None:
    folder = tiny_rewards.save_clip(tmp_path / "clip")
    first, second = tiny_rewards.pictures(5, seed=1), tiny_rewards.pictures(6, seed=2).flip(3) * 0.5
    by_folder = measured(first, second, folder)
    tower = load_tower(folder, device=torch.device("cpu"), dtype=torch.float32)
    by_callable = measured(first, second, tower.image_features)
    assert by_folder == pytest.approx(by_callable, rel=1e-4)
    vectors = [tower.image_features(images) for images in (first, second)]
    assert by_folder == pytest.approx(_naive(*vectors, 10.0, unbiased=False), rel=1e-4)
    assert by_folder > 0.1
    assert measured(first, first, folder) == pytest.approx(0, abs=1e-3)


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=str(tmp_path)):
        measured(torch.zeros(1, 3, 8, 8), torch.zeros(1, 3, 8, 8), tmp_path)


@pytest.mark.parametrize(
    ("first", "second", "unbiased"),
    [
        (torch.zeros(0, 2), torch.ones(1, 2), False),
        (torch.ones(1, 2), torch.ones(3, 2), True),
        (torch.ones(2, 2), torch.ones(2, 3), False),
        (torch.ones(2), torch.ones(2, 2), False),
    ],
)
def test_sets_that_do_not_compare(first: Tensor, second: Tensor, unbiased: bool) -> None:
    with pytest.raises(ConfigError):
        compute_cmmd(first, second, unbiased=unbiased)


@pytest.mark.parametrize("broken", [math.nan, math.inf, 0.0])
def test_vectors_that_are_no_numbers(broken: float) -> None:
    with pytest.raises(RewardError, match="embedder"):
        compute_cmmd(torch.full((2, 2), broken), torch.ones(2, 2))


def test_no_pictures() -> None:
    with pytest.raises(ConfigError, match="at least one picture"):
        embed_images(torch.zeros(0, 3, 8, 8), lambda images: images.mean((2, 3)))
    with pytest.raises(ConfigError, match="width"):
        compute_cmmd(torch.ones(2, 2), torch.ones(2, 2), sigma=0.0)
