"""What heads and words are told: by hand, by enumeration, by finite differences, in a simulation."""

from __future__ import annotations

import itertools

import pytest
import torch

from dfprompt.training.control_credit import (
    better_controls,
    control_logprobs,
    expected_worth,
    lost_meaning,
    words_credit,
)

RANGES, WEIGHTS = 3, 5
CONTROLS = RANGES * WEIGHTS


def logprobs(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).log_softmax(-1)


def test_expected_worth_is_the_sum_over_all_fifteen_controls() -> None:
    ranges, weights = logprobs(2, RANGES), logprobs(2, WEIGHTS, seed=1)
    worth = torch.randn(2, RANGES, WEIGHTS, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for row in range(2):
        total = sum(
            float(ranges[row, r].exp() * weights[row, w].exp() * worth[row, r, w])
            for r, w in itertools.product(range(RANGES), range(WEIGHTS))
        )
        assert float(expected_worth(ranges, weights, worth)[row]) == pytest.approx(total)


def test_its_gradient_is_that_of_finite_differences() -> None:
    """Over the heads' logits, a range that cannot be drawn among them."""
    worth = torch.randn(2, RANGES, WEIGHTS, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    allowed = torch.tensor([[True, True, True], [True, False, True]])

    def expected(range_logits: torch.Tensor, weight_logits: torch.Tensor) -> torch.Tensor:
        ranges = range_logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)
        return expected_worth(ranges, weight_logits.log_softmax(-1), worth)

    inputs = [logprobs(2, RANGES).requires_grad_(True), logprobs(2, WEIGHTS, seed=1).requires_grad_(True)]
    assert torch.autograd.gradcheck(expected, inputs, eps=1e-6, atol=1e-8)
    expected(*inputs).sum().backward()
    assert inputs[0].grad is not None
    assert inputs[0].grad[1, 1] == 0


def test_a_worth_that_is_the_same_for_all_controls_moves_no_head() -> None:
    ranges = logprobs(RANGES).requires_grad_(True)
    expected_worth(ranges.log_softmax(-1), logprobs(WEIGHTS), torch.full((RANGES, WEIGHTS), 2.5)).backward()
    assert ranges.grad is not None
    torch.testing.assert_close(ranges.grad, torch.zeros_like(ranges.grad), atol=1e-12, rtol=0)


def test_better_controls_tilt_the_policys_own() -> None:
    """Half and half, one worth 1 more at sharpness 1/2: e squared times likelier."""
    found = better_controls(torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]), 0.5)
    assert float(found[0] / found[1]) == pytest.approx(torch.e**2, rel=1e-5)
    never = control_logprobs(torch.tensor([0.0, -torch.inf]), torch.tensor([0.0]))
    assert better_controls(never, torch.tensor([0.0, 100.0]), 1.0).tolist() == [1.0, 0.0]


def test_words_are_not_blamed_for_the_control_they_were_drawn_with() -> None:
    """Two phrases: 5 + (3 - 1) for the one drawn badly, and nothing for the padding beside it."""
    worth = torch.tensor([[[3.0, 1.0], [9.0, -9.0]]])
    target = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]])
    drawn, mask = torch.tensor([[1, 1]]), torch.tensor([[True, False]])
    assert words_credit(torch.tensor([5.0]), worth, drawn, target, mask).tolist() == [7.0]


@pytest.mark.parametrize("right", ["worths", "draws"])
def test_the_words_credit_is_unbiased_where_either_the_worths_or_the_draws_are_right(right: str) -> None:
    """A world whose truth is known: rows of two phrases, 200,000 draws, four standard errors.

    With the true worths controls may be drawn anyhow; drawn from the target the worths may be anything.
    """
    rows = 200_000
    generator = torch.Generator().manual_seed(11)
    truth = torch.randn(2, CONTROLS, generator=generator)
    wrong = torch.randn(2, CONTROLS, generator=generator)
    policy = torch.randn(2, CONTROLS, generator=generator).log_softmax(-1)
    model = truth if right == "worths" else wrong
    target = better_controls(policy, model, 0.4)
    drawn_from = policy.exp() if right == "worths" else target
    drawn = torch.stack(
        [torch.multinomial(each, rows, replacement=True, generator=generator) for each in drawn_from], 1
    )
    rewards = truth[0][drawn[:, 0]] + truth[1][drawn[:, 1]] + torch.randn(rows, generator=generator)
    mask = torch.ones(rows, 2, dtype=torch.bool)
    credit = words_credit(rewards, model.expand(rows, -1, -1), drawn, target.expand(rows, -1, -1), mask)
    expected = float((target * truth).sum())
    error = float(credit.std()) / rows**0.5
    assert float(credit.mean()) == pytest.approx(expected, abs=4 * error)
    blamed = float(rewards.mean())
    if right == "worths":  # what the row earned as drawn is far from it
        assert abs(blamed - expected) > 40 * error


def test_meaning_is_lost_below_the_plain_pictures_alone() -> None:
    scores, plain = torch.tensor([0.9, 0.6, 0.2]), torch.tensor([0.8, 0.8, 0.8])
    assert lost_meaning(scores, plain, 0.25).tolist() == pytest.approx([0.0, 0.0, -0.35])
