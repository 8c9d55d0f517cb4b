"""Controls drawn anew: the words stay, the draws are the heads' own, and each depends on its seed alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from dfprompt.errors import ConfigError
from dfprompt.policy import SamplingSettings, Trajectory, compute_logprobs, vary_controls
from tiny_policies import tiny_policy

PROMPTS = ["a red cat", "the blue star", "a hill in the snow"] * 4
SEEDS = [5 + at for at in range(len(PROMPTS))]
COPIES = 3


def drawn(count: int = len(PROMPTS)) -> Trajectory:
    how = SamplingSettings(max_new_tokens=12).for_rollouts()
    return tiny_policy().sample(PROMPTS[:count], SEEDS[:count], how)


def varied(count: int = len(PROMPTS), copies: int = COPIES) -> Trajectory:
    return vary_controls(tiny_policy().model, drawn(count), SEEDS[:count], copies)


def test_words_stay_and_the_first_copy_is_the_row_as_it_was_drawn() -> None:
    one, many = drawn(), varied()
    assert len(many) == COPIES * len(one)
    for copy in range(COPIES):
        part = many.select(range(copy, len(many), COPIES))
        assert torch.equal(part.tokens, one.tokens)
        assert torch.equal(part.text_logprobs, one.text_logprobs)
        assert torch.equal(part.control_mask, one.control_mask)
    first = many.select(range(0, len(many), COPIES))
    assert first.phrases == one.phrases
    for name in ("range_ids", "weight_ids", "range_logprobs", "weight_logprobs"):
        assert torch.equal(getattr(first, name), getattr(one, name))


def test_new_controls_differ_and_their_logprobs_are_the_models() -> None:
    many, policy = varied(), tiny_policy()
    assert many.control_mask.sum() > 30
    for ids in (many.range_ids, many.weight_ids):
        rows = ids.reshape(len(PROMPTS), COPIES, -1)
        assert (rows[:, 0] != rows[:, 1]).any()
        assert (rows[:, 1] != rows[:, 2]).any()
    now = compute_logprobs(policy.model, policy.vocabulary, many)
    torch.testing.assert_close(many.range_logprobs, now.range.detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(many.weight_logprobs, now.weight.detach(), atol=1e-5, rtol=0)


def test_phrases_carry_the_controls_of_their_closing_tokens() -> None:
    many, told = varied(), 0
    for row, phrases in enumerate(many.phrases):
        for phrase in phrases:
            if phrase.end < many.tokens.shape[1] and many.control_mask[row, phrase.end]:
                told += 1
                assert phrase.range_id == many.range_ids[row, phrase.end]
                assert phrase.weight_id == many.weight_ids[row, phrase.end]
    assert told == many.control_mask.sum()


def test_a_copy_depends_on_its_seed_and_number_alone() -> None:
    whole, part = varied(), varied(4, 2)
    for row in range(4):
        width = int(part.token_mask[2 * row].sum())
        for copy in range(2):
            a, b = whole.range_ids[COPIES * row + copy], part.range_ids[2 * row + copy]
            assert torch.equal(a[:width], b[:width])


def test_draws_follow_the_heads() -> None:
    """3,000 copies of one row: shares of the range classes within five standard errors of the head's."""
    copies, policy = 3000, tiny_policy()
    many = vary_controls(policy.model, drawn(1), SEEDS[:1], copies)
    at = int(many.control_mask[0].nonzero()[0])
    expected = compute_logprobs(policy.model, policy.vocabulary, drawn(1)).range_all[0, at].exp().detach()
    shares = torch.bincount(many.range_ids[1:, at], minlength=len(expected)) / (copies - 1)
    error = (expected * (1 - expected) / copies).sqrt()
    assert ((shares - expected).abs() <= 5 * error + 1e-9).all()


def test_forbidden_ranges_are_not_drawn() -> None:
    one = drawn()
    allowed = torch.zeros_like(one.range_allowed)
    allowed[:, 1] = True
    many = vary_controls(tiny_policy().model, dataclasses.replace(one, range_allowed=allowed), SEEDS, 2)
    again = many.select(range(1, len(many), 2))
    assert (again.range_ids[again.control_mask] == 1).all()


@pytest.mark.parametrize("control", ["token", "none"])
def test_other_controls_are_refused(control: str) -> None:
    with pytest.raises(ConfigError, match="control_draws"):
        vary_controls(tiny_policy().model, dataclasses.replace(drawn(1), control=control), SEEDS[:1], 2)


def test_a_share_is_drawn_evenly_and_the_rest_is_as_it_was() -> None:
    """All of them: classes come up alike, with the policy's log-probabilities; a half: the others stay."""
    policy, one = tiny_policy(), drawn()
    even = vary_controls(policy.model, one, SEEDS, 400, explore=1.0)
    ids = even.range_ids[even.control_mask]
    shares = torch.bincount(ids, minlength=3) / len(ids)
    assert shares.tolist() == pytest.approx([1 / 3] * 3, abs=5 * (2 / 9 / len(ids)) ** 0.5)
    now = compute_logprobs(policy.model, policy.vocabulary, even.select(range(40)))
    width = now.range.shape[1]
    torch.testing.assert_close(even.range_logprobs[:40, :width], now.range.detach(), atol=1e-5, rtol=0)
    half = vary_controls(policy.model, one, SEEDS, 1, explore=0.5)
    assert torch.equal(half.tokens, one.tokens)
    kept = (half.range_ids == one.range_ids) & (half.weight_ids == one.weight_ids)
    changed = (~kept & one.control_mask).sum() / one.control_mask.sum()
    assert 0.15 < float(changed) < 0.75
    none = vary_controls(policy.model, one, SEEDS, 1, explore=0.0)
    assert torch.equal(none.range_ids, one.range_ids)
