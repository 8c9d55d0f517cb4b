"""The further populations: their formula by hand, and that nothing moved since they were written down."""

from __future__ import annotations

import math

import pytest
import torch

from dfprompt.api.rewards import load_reward
from dfprompt.api.world import mini_folder
from dfprompt.mini.measures import MEASURES
from dfprompt.mini.populations import POPULATIONS, USUAL, population_taste, rate_by
from dfprompt.mini.raters import BASE
from dfprompt.mini.world import SCENES
from dfprompt.rewards import CompositeReward
from worlds.mini.populations import population_digests, read_frozen_tastes


def test_nothing_moved_since_it_was_written_down() -> None:
    assert population_digests(mini_folder()) == read_frozen_tastes()


def test_usual_values_are_there_for_every_wish() -> None:
    assert set(USUAL) == set(SCENES)
    wished = {wish.measure for wishes in POPULATIONS.values() for wish in wishes}
    assert wished <= set(MEASURES)
    assert all(wished <= set(values) for values in USUAL.values())


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_formula_by_hand(name: str) -> None:
    """Exactly as wished: all points. One width off in the first measure: that one times exp(-1/2)."""
    best = {
        wish.measure: torch.tensor([USUAL["sea"][wish.measure] + wish.more]) for wish in POPULATIONS[name]
    }
    points = sum(wish.points for wish in POPULATIONS[name])
    assert rate_by(name, best, ["sea"]).item() == pytest.approx(BASE + points, abs=1e-5)
    first = POPULATIONS[name][0]
    best[first.measure] += first.width
    expected = BASE + points - first.points * (1 - math.exp(-0.5))
    assert rate_by(name, best, ["sea"]).item() == pytest.approx(expected, abs=1e-4)


def test_they_like_different_pictures() -> None:
    noise = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    assert not torch.allclose(
        population_taste("painted", noise, ["sea"] * 4), population_taste("graphic", noise, ["sea"] * 4)
    )


def test_their_rewards_differ_in_the_aesthetic_score_alone() -> None:
    rewards = [load_reward(name) for name in ("mini", "mini-painted", "mini-graphic")]
    pictures = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    found = []
    for reward in rewards:
        assert isinstance(reward, CompositeReward)
        found.append(reward.score_terms(pictures, ["a red cat on a hill"] * 3))
    for other in found[1:]:
        assert torch.equal(other.scores["clip"], found[0].scores["clip"])
        assert torch.equal(other.terms["preference_gate"], found[0].terms["preference_gate"])
        assert not torch.allclose(other.reward, found[0].reward)
