"""Headroom: the arithmetic on made-up values, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dfprompt.mini.world import HELD_OUT_PAIRS, SCENES
from dfprompt.statistics.intervals import mean_with_interval
from worlds.mini.headroom import (
    DEFAULT,
    PAIRS,
    asked_scenes,
    columns,
    measure_headroom,
    pair_name,
)

MODIFIERS = ("a", "b", "c", "useless")
PLACES = [place for place in SCENES for _ in range(20)]
BEST = (PAIRS.index(("late", "0.5")), PAIRS.index(("early", "1.25")), PAIRS.index(("late", "0.5")))


def made_up(noise: float, seed: int = 0) -> np.ndarray:
    """Three modifiers bring 1 by default and 2 at their own best pair; the fourth harms."""
    values = np.zeros((4, len(PLACES), 16))
    values[:3, :, 1:] = 0.5
    values[:3, :, 1 + DEFAULT] = 1.0
    for modifier, pair in enumerate(BEST):
        values[modifier, :, 1 + pair] = 2.0
    values[3, :, 1:] = -1.0
    return values + noise * np.random.default_rng(seed).standard_normal(values.shape)


def test_the_arms_are_worth_what_was_put_in() -> None:
    kept = np.ones((4, len(PLACES), 16), bool)
    kept[:, :, 1 + DEFAULT] = False
    found = measure_headroom(made_up(0.0), kept, MODIFIERS, PLACES)
    assert found.pleasing == ("a", "b", "c")
    assert found.plain_to_default.mean == pytest.approx(1.0)
    # The best single pair serves a and c (2, 2) and gives b 0.5: 1.5 in the mean, against 1 by default.
    assert found.single == "late 0.5"
    assert found.default_to_single.mean == pytest.approx(0.5)
    assert found.single_to_modifier.mean == pytest.approx(0.5)
    assert found.modifier_to_scene.mean == pytest.approx(0.0)
    assert found.commonest_share == pytest.approx(2 / 3)
    assert found.fidelity["default"].mean == pytest.approx(-100)
    assert found.fidelity["modifier"].mean == pytest.approx(0)
    assert found.best_pairs == {"a": "late 0.5", "b": "early 1.25", "c": "late 0.5"}


def test_what_only_one_scene_likes_is_seen() -> None:
    values = made_up(0.0)
    night = np.array(PLACES) == "night"
    values[0][night, 1 + BEST[0]] = 0.0
    values[0][night, 1 + BEST[1]] = 3.0
    found = measure_headroom(values, np.ones(values.shape, bool), MODIFIERS, PLACES)
    assert found.modifier_to_scene.mean == pytest.approx(3.0 / 6 / 3, abs=0.05)


def test_noise_alone_has_no_headroom() -> None:
    """Were pairs measured on the prompts that chose them, the gain would be far above 0."""
    noise = np.random.default_rng(3).standard_normal((4, len(PLACES), 16))
    noise[:, :, 1:] += 0.5
    found = measure_headroom(noise, np.ones(noise.shape, bool), MODIFIERS, PLACES)
    assert abs(found.single_to_modifier.mean) < 0.2
    assert found.single_to_modifier.low < 0 < found.single_to_modifier.high
    cheated = (noise[:, :, 1:].mean(1).max(1) - noise[:, :, 1:].mean((0, 1)).max()).mean()
    assert cheated > 0.1


def test_columns_are_plain_and_every_pair() -> None:
    prompts = columns("a red cat on a hill", "golden hour")
    assert len(prompts) == 16
    assert len(set(prompts)) == 16
    assert prompts[0].plain_text == "a red cat on a hill"
    assert {p.plain_text for p in prompts[1:]} == {"a red cat on a hill, golden hour"}
    assert pair_name(DEFAULT) == "full 1"


def test_no_held_out_pair_is_asked_for() -> None:
    asked = asked_scenes(5)
    assert len(asked) == 5 * len(SCENES)
    assert not {(s.subject, s.scene) for s in asked} & HELD_OUT_PAIRS


def test_the_interval_holds_the_mean() -> None:
    values = np.random.default_rng(1).normal(3.0, 1.0, 400)
    found = mean_with_interval(values)
    assert found.low < values.mean() < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 / 20, rel=0.15)


def test_each_half_holds_every_scene() -> None:
    places = [place for place in SCENES for _ in range(2)]
    values = np.random.default_rng(5).standard_normal((3, len(places), 16))
    measure_headroom(values, np.ones(values.shape, bool), MODIFIERS[:3], places)
