"""Equation 4 by hand, its switches, and what a composite reports."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConfigError
from dfprompt.rewards import CompositeReward, CompositeSettings, ImageBatch, as_score, compute_terms
from dfprompt.rewards.scores import Score
from tiny_rewards import pictures, prompts


def _constant(value: float) -> Score:
    return as_score(lambda images, prompts, records=None: torch.full((len(images),), value))


def _mean(channel: int, gain: float = 1.0, offset: float = 0.0) -> Score:
    return as_score(lambda images, prompts, records=None: gain * images[:, channel].mean((1, 2)) + offset)


def _row(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_equation_four_by_hand() -> None:
    scores = {"aesthetic": _row(5.5, 6.0), "clip": _row(0.25, 0.31), "preference": _row(17.0, 21.0)}
    terms, binds = compute_terms(CompositeSettings(), scores)
    # 1 * (5.5 - 0) + 20 * (.25 - .28) + 1 * (17 - 18) = 5.5 - .6 - 1 ; 6.0 + 0 + 0
    torch.testing.assert_close(torch.stack(list(terms.values())).sum(0), _row(3.9, 6.0))
    torch.testing.assert_close(terms["clip_gate"], _row(-0.6, 0.0))
    torch.testing.assert_close(terms["preference_gate"], _row(-1.0, 0.0))
    assert binds["clip_gate"].tolist() == [True, False]
    assert binds["preference_gate"].tolist() == [True, False]


def test_every_constant_by_hand() -> None:
    constants = CompositeSettings(
        a=2, b=0.5, c=10, d=3, zeta=0.1, kappa=-1, zeta_relative=True, kappa_relative=True
    )
    scores = {"aesthetic": _row(5.0), "clip": _row(0.25), "preference": _row(17.0)}
    plain = {"aesthetic": _row(4.0), "clip": _row(0.30), "preference": _row(19.0)}
    terms, _ = compute_terms(constants, scores, plain)
    assert terms["aesthetic_term"].item() == pytest.approx(2 * (5 - 0.5 * 4))
    assert terms["clip_gate"].item() == pytest.approx(10 * (0.25 - 0.40))
    assert terms["preference_gate"].item() == pytest.approx(3 * (17 - 18))


def test_the_defaults_are_the_published_ones() -> None:
    constants = CompositeSettings()
    assert (constants.a, constants.b, constants.c, constants.d) == (1, 0, 20, 1)
    assert (constants.zeta, constants.kappa) == (0.28, 18)


def test_a_relative_threshold_starts_at_the_plain_image() -> None:
    constants = CompositeSettings(zeta_relative=True)
    assert (constants.zeta, constants.kappa) == (0, 18)
    scores = {"clip": _row(0.2, 0.2)}
    terms, _ = compute_terms(constants, scores, {"clip": _row(0.1, 0.3)})
    torch.testing.assert_close(terms["clip_gate"], _row(0.0, -2.0))


@given(
    clip=st.floats(-1, 1, width=32),
    zeta=st.floats(-1, 1, width=32),
    c=st.floats(0, 50, width=32),
)
def test_a_gate_never_rewards(clip: float, zeta: float, c: float) -> None:
    terms, binds = compute_terms(CompositeSettings(c=c, zeta=zeta), {"clip": _row(clip)})
    assert terms["clip_gate"].item() <= 0
    assert binds["clip_gate"].item() == (torch.tensor(clip) < torch.tensor(zeta)).item()
    assert terms["clip_gate"].item() == pytest.approx(c * min(clip - zeta, 0), rel=1e-4, abs=1e-4)


def test_terms_sum_to_the_reward_and_each_is_reported() -> None:
    reward = CompositeReward(
        CompositeSettings(zeta=0.5, kappa=0.5),
        aesthetic=_mean(0),
        clip=_mean(1),
        preference=_mean(2),
        extra={"light": (_mean(0), 0.25)},
        judges={"judge": _constant(7.0)},
    )
    images = pictures(4)
    terms = reward.score_terms(images, prompts(4))
    torch.testing.assert_close(terms.reward, sum(terms.terms.values()))
    assert list(terms.terms) == ["aesthetic_term", "clip_gate", "preference_gate", "light_term"]
    torch.testing.assert_close(terms.scores["light"], images[:, 0].mean((1, 2)))
    torch.testing.assert_close(terms.terms["light_term"], 0.25 * images[:, 0].mean((1, 2)))
    torch.testing.assert_close(reward(images, prompts(4)), terms.reward)
    columns = reward.columns(ImageBatch(images), prompts(4))
    assert list(columns)[:4] == ["reward", "aesthetic", "clip", "preference"]
    assert columns["judge"].tolist() == [7.0] * 4


def test_judges_do_not_enter_the_reward() -> None:
    parts = {"aesthetic": _mean(0), "clip": _mean(1), "preference": _mean(2)}
    plain = CompositeReward(CompositeSettings(), **parts)
    judged = CompositeReward(CompositeSettings(), **parts, judges={"judge": _constant(1e6)})
    assert torch.equal(plain(pictures(3), prompts(3)), judged(pictures(3), prompts(3)))


def test_a_score_with_weight_zero_is_never_computed() -> None:
    def explode(images, prompts, records=None):
        raise AssertionError("computed")

    reward = CompositeReward(
        CompositeSettings(c=0, d=0), aesthetic=_mean(0), clip=as_score(explode), preference=as_score(explode)
    )
    assert torch.equal(reward(pictures(2), prompts(2)), pictures(2)[:, 0].mean((1, 2)))


def test_plain_scores_enter_row_by_row() -> None:
    reward = CompositeReward(
        CompositeSettings(c=0, d=0, b=1), aesthetic=_mean(0), clip=_constant(0), preference=_constant(0)
    )
    assert reward.needs_plain
    drawn, without = pictures(3, seed=1), pictures(3, seed=2)
    plain = reward.plain_scores(without, prompts(3))
    terms = reward.score_terms(drawn, prompts(3), plain=plain)
    expected = drawn[:, 0].mean((1, 2)) - without[:, 0].mean((1, 2))
    torch.testing.assert_close(terms.reward, expected)


def test_a_missing_plain_image_raises_and_says_what_to_pass() -> None:
    reward = CompositeReward(
        CompositeSettings(zeta_relative=True), aesthetic=_mean(0), clip=_mean(1), preference=_mean(2)
    )
    with pytest.raises(ConfigError, match=r"plain=reward\.plain_scores"):
        reward(pictures(2), prompts(2))
    plain = reward.plain_scores(pictures(3), prompts(3))
    with pytest.raises(ConfigError, match="one value for each of 2 images"):
        reward.score_terms(pictures(2), prompts(2), plain=plain)


@pytest.mark.parametrize(
    ("constants", "needed"),
    [
        ({}, False),
        ({"b": 0.1}, True),
        ({"zeta_relative": True}, True),
        ({"kappa_relative": True}, True),
        ({"b": 0.1, "a": 0}, False),
        ({"zeta_relative": True, "c": 0}, False),
        ({"kappa_relative": True, "d": 0}, False),
    ],
)
def test_plain_images_are_asked_for_only_where_they_enter(constants: dict[str, float], needed: bool) -> None:
    reward = CompositeReward(
        CompositeSettings(**constants), aesthetic=_mean(0), clip=_mean(1), preference=_mean(2)
    )
    assert reward.needs_plain is needed


def test_impossible_composites_raise() -> None:
    with pytest.raises(ConfigError, match="clip score has weight 20 but no model"):
        CompositeReward(CompositeSettings(), aesthetic=_mean(0), preference=_mean(1))
    with pytest.raises(ConfigError, match="every weight of the reward is 0"):
        CompositeReward(CompositeSettings(a=0, c=0, d=0))
    with pytest.raises(ConfigError, match="cannot be called clip"):
        CompositeReward(CompositeSettings(a=0, d=0), clip=_mean(0), extra={"clip": (_mean(1), 1.0)})


def test_a_reward_of_extras_alone_is_possible() -> None:
    reward = CompositeReward(CompositeSettings(a=0, c=0, d=0), extra={"light": (_mean(0), 2.0)})
    torch.testing.assert_close(reward(pictures(2), prompts(2)), 2 * pictures(2)[:, 0].mean((1, 2)))


def test_the_composite_of_models_is_the_sum_of_its_models(reward_set: Path) -> None:
    from dfprompt.api.rewards import load_reward

    images, texts = pictures(4), prompts(4)
    aesthetic = load_reward(reward_set / "aesthetic", device="cpu")(images, texts)
    clip = load_reward(reward_set / "clip", device="cpu")(images, texts)
    preference = load_reward(f"pickscore:{reward_set}", device="cpu")(images, texts)
    expected = aesthetic + 20 * (clip - 0.28).clamp_max(0) + (preference - 18).clamp_max(0)
    torch.testing.assert_close(load_reward(reward_set, device="cpu")(images, texts), expected)
