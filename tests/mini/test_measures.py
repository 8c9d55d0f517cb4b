"""What the raters measure and how they judge it: hand-worked numbers, and what they cannot know."""

from __future__ import annotations

import inspect
import math

import pytest
import torch

from dfprompt.mini import measures, raters
from dfprompt.mini.measures import MEASURES, measure
from dfprompt.mini.raters import BASE, LIKINGS, Liking, rate, taste, taste_of
from dfprompt.mini.world import SCENES


def _flat(red: float, green: float, blue: float) -> torch.Tensor:
    return torch.tensor([float(red), float(green), float(blue)]).view(1, 3, 1, 1).expand(1, 3, 64, 64).clone()


def test_a_flat_picture_has_hand_worked_measures() -> None:
    m = measure(_flat(0.8, 0.5, 0.2))
    assert m["brightness"].item() == pytest.approx(0.2126 * 0.8 + 0.7152 * 0.5 + 0.0722 * 0.2, abs=1e-5)
    assert m["warmth"].item() == pytest.approx(0.6, abs=1e-5)
    assert m["saturation"].item() == pytest.approx(0.6, abs=1e-5)
    for name in ("contrast", "sharpness", "grain", "texture", "spotlight", "backdrop", "gloss"):
        assert m[name].item() == pytest.approx(0, abs=1e-5), name


def test_half_black_half_white_has_the_contrast_of_a_coin() -> None:
    image = _flat(0, 0, 0)
    image[..., :32] = 1
    m = measure(image)
    # 64 x 64 values, half 0 and half 1: the sample standard deviation is 0.5 * sqrt(n / (n - 1)).
    assert m["contrast"].item() == pytest.approx(0.5 * math.sqrt(4096 / 4095), abs=1e-5)
    assert m["brightness"].item() == pytest.approx(0.5, abs=1e-5)


def test_a_checkerboard_is_grain_and_broad_stripes_are_not() -> None:
    i = torch.arange(64)
    fine = ((i[:, None] + i[None]) % 2).float().expand(1, 3, 64, 64) * 0.2 + 0.4
    broad = ((i[:, None] // 16 + 0 * i[None]) % 2).float().expand(1, 3, 64, 64) * 0.2 + 0.4
    assert measure(fine)["grain"].item() > 0.05
    assert measure(broad)["grain"].item() < 0.005


def test_a_block_is_found_where_it_stands() -> None:
    small, large = _flat(0.5, 0.6, 0.7), _flat(0.5, 0.6, 0.7)
    small[:, :, 28:40, 40:52] = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
    large[:, :, 20:50, 20:50] = torch.tensor([0.9, 0.1, 0.1]).view(1, 3, 1, 1)
    a, b = measure(small), measure(large)
    assert a["subject_x"].item() == pytest.approx((46 / 64) * 2 - 1, abs=0.08)
    assert b["subject_size"].item() > 2.5 * a["subject_size"].item()


def test_measures_and_taste_do_not_depend_on_the_batch() -> None:
    images = torch.rand((7, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    scenes = [list(SCENES)[i % 6] for i in range(7)]
    together = taste(images, scenes)
    alone = torch.cat([taste(images[i : i + 1], scenes[i : i + 1]) for i in range(7)])
    assert torch.allclose(together, alone, atol=1e-5)
    assert ((together >= 1) & (together <= 10)).all()


def test_taste_is_the_sum_of_its_likings() -> None:
    """All as liked gives all points; one measure a width off loses 1 - exp(-1/2) of its own."""
    for scene, likings in LIKINGS.items():
        values = {name: torch.zeros(1) for name in MEASURES}
        values |= {like.measure: torch.tensor([like.liked]) for like in likings}
        best = min(10.0, BASE + sum(like.points for like in likings))
        assert taste_of(values, [scene]).item() == pytest.approx(best, abs=1e-4)
    like = LIKINGS["desert"][0]
    values = {name: torch.zeros(1) for name in MEASURES}
    values |= {other.measure: torch.tensor([other.liked]) for other in LIKINGS["desert"]}
    full = taste_of(values, ["desert"]).item()
    values[like.measure] = torch.tensor([like.liked + like.width])
    assert full - taste_of(values, ["desert"]).item() == pytest.approx(
        like.points * (1 - math.exp(-0.5)), abs=1e-3
    )


def test_ratings_scatter_around_the_taste_and_average_out() -> None:
    images = torch.rand((1, 3, 64, 64), generator=torch.Generator().manual_seed(1))
    many = rate(images.expand(400, 3, 64, 64), ["sea"] * 400, generator=torch.Generator().manual_seed(2))
    mean = taste(images, ["sea"]).item()
    assert many.mean().item() == pytest.approx(mean, abs=0.1)
    assert many.std().item() == pytest.approx(raters.RATER_NOISE, abs=0.06)


def test_every_liking_names_a_measure_and_every_scene_has_its_own_taste() -> None:
    assert set(LIKINGS) == set(SCENES)
    assert {like.measure for likings in LIKINGS.values() for like in likings} <= set(MEASURES)
    assert len(set(LIKINGS.values())) == len(SCENES)
    assert all(
        isinstance(like, Liking) and like.width > 0 < like.points for row in LIKINGS.values() for like in row
    )


def test_raters_see_pixels_and_the_scene_only() -> None:
    """No path from a caption, a modifier, a range or a weight to a rating: nothing imported or taken."""
    for module in (measures, raters):
        source = inspect.getsource(module)
        for word in ("modifiers import", "captions import", "dfprompt.prompt", "EffectRange", "Weight"):
            assert word not in source, (module.__name__, word)
    assert list(inspect.signature(taste).parameters) == ["images", "scenes", "batch"]
    assert list(inspect.signature(rate).parameters) == ["images", "scenes", "generator", "raters"]
