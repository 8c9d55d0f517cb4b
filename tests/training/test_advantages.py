"""Advantages: by hand, by loops, under changes that must not matter, and against mutated versions."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dfprompt.training import advantages
from dfprompt.training.advantages import (
    Estimates,
    compare_controls,
    generalized_advantages,
    group_advantages,
    pool_controls,
    rewards_at_end,
    whiten,
)

Gae = Callable[..., Estimates]


def ragged(lengths: list[int], width: int | None = None) -> Tensor:
    """A mask (B, T) of rows with so many tokens."""
    return torch.arange(width or max(lengths, default=0))[None] < torch.tensor(lengths)[:, None]


def naive_gae(
    rewards: Tensor, values: Tensor, lengths: list[int], discount: float, decay: float
) -> list[list[float]]:
    """The definition: a sum of all later surprises of the row, each weighted by itself."""
    rows, fall = [], discount * decay
    for row, length in enumerate(lengths):
        value = [*values[row, :length].tolist(), 0.0]
        surprise = [float(rewards[row, t]) + discount * value[t + 1] - value[t] for t in range(length)]
        rows.append([sum(fall ** (s - t) * surprise[s] for s in range(t, length)) for t in range(length)])
    return rows


def test_the_reward_lies_on_the_last_token_of_each_row() -> None:
    placed = rewards_at_end(torch.tensor([2.0, -1.0, 5.0]), ragged([3, 1, 0]))
    assert placed.tolist() == [[0, 0, 2], [-1, 0, 0], [0, 0, 0]]


def test_gae_by_hand() -> None:
    """Surprises .5*.4-.5 = -.3, .5*.2-.4 = -.3, 1-.2 = .8; then .8; -.3+.25*.8 = -.1; -.3+.25*-.1 = -.325."""
    rewards, values = torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.5, 0.4, 0.2]])
    found = generalized_advantages(rewards, values, ragged([3]), discount=0.5, decay=0.5)
    torch.testing.assert_close(found.advantages, torch.tensor([[-0.325, -0.1, 0.8]]))
    torch.testing.assert_close(found.returns, torch.tensor([[0.175, 0.3, 1.0]]))


def test_without_discount_the_advantage_is_reward_minus_value() -> None:
    mask, values = ragged([4, 2]), torch.rand(2, 4)
    found = generalized_advantages(rewards_at_end(torch.tensor([3.0, -2.0]), mask), values, mask)
    expected = torch.where(mask, torch.tensor([[3.0], [-2.0]]) - values, 0.0)
    torch.testing.assert_close(found.advantages, expected)
    torch.testing.assert_close(found.returns, torch.where(mask, torch.tensor([[3.0], [-2.0]]), 0.0))


def test_without_decay_it_is_the_surprise_of_one_step() -> None:
    mask, values = ragged([3]), torch.tensor([[0.5, 0.25, 2.0]])
    found = generalized_advantages(rewards_at_end(torch.tensor([1.0]), mask), values, mask, decay=0.0)
    torch.testing.assert_close(found.advantages, torch.tensor([[-0.25, 1.75, -1.0]]))


def gae_batch(seed: int = 0, lengths: tuple[int, ...] = (5, 1, 0, 3)) -> tuple[Tensor, Tensor, list[int]]:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(lengths), max(lengths))
    rewards, values = (torch.randn(shape, generator=generator) for _ in range(2))
    return rewards, values, list(lengths)


def check_gae(gae: Gae) -> None:
    """What every version must keep: the definition, with rubbish behind each row's end."""
    for seed in range(3):
        rewards, values, lengths = gae_batch(seed)
        mask = ragged(lengths)
        dirty = [torch.where(mask, each, math.nan) for each in (rewards, values)]
        for discount, decay in ((1.0, 1.0), (1.0, 0.95), (0.9, 0.7)):
            found = gae(*dirty, mask, discount=discount, decay=decay)
            expected = naive_gae(rewards, values, lengths, discount, decay)
            for row, length in enumerate(lengths):
                torch.testing.assert_close(found.advantages[row, :length], torch.tensor(expected[row]))
                assert not found.advantages[row, length:].any()
                assert not found.returns[row, length:].any()
            torch.testing.assert_close(
                found.returns, torch.where(mask, found.advantages + values, torch.zeros(()))
            )


def test_gae_is_the_naive_sum() -> None:
    check_gae(generalized_advantages)


@given(st.permutations(range(4)), st.integers(0, 5))
def test_gae_ignores_row_order_and_padding(order: list[int], padding: int) -> None:
    rewards, values, lengths = gae_batch()
    mask = ragged(lengths)
    whole = generalized_advantages(rewards, values, mask, decay=0.9)
    wide = [torch.nn.functional.pad(each, (0, padding)) for each in (rewards, values)]
    found = generalized_advantages(
        *(each[order] for each in wide), torch.nn.functional.pad(mask, (0, padding))[order], decay=0.9
    )
    for one, two in zip(whole, found, strict=True):
        torch.testing.assert_close(one[order], two[:, : one.shape[1]], atol=0, rtol=0)


def check_whitening(fn: Callable[..., Tensor]) -> None:
    """1, 2, 6: mean 3, variance 14/3."""
    values = torch.tensor([[1.0, 2.0, 77.0], [6.0, math.nan, math.inf]])
    mask = ragged([2, 1], 3)
    spread = math.sqrt(14 / 3)
    expected = torch.tensor([[-2 / spread, -1 / spread, 0], [3 / spread, 0, 0]])
    torch.testing.assert_close(fn(values, mask), expected)


def test_whitening_by_hand() -> None:
    check_whitening(whiten)


@pytest.mark.parametrize("value", [0.0, 5.3, 1e6, -3e-7])
def test_equal_values_say_nothing(value: float) -> None:
    assert not whiten(torch.full((3, 7), value), ragged([7, 3, 1])).any()
    assert not group_advantages(torch.full((3, 7), value)).any()


def test_nothing_drawn_gives_nothing() -> None:
    assert not whiten(torch.full((2, 3), math.nan), ragged([0, 0], 3)).any()
    assert whiten(torch.zeros(2, 0), torch.zeros(2, 0, dtype=torch.bool)).shape == (2, 0)
    empty = torch.zeros(2, 0)
    assert generalized_advantages(empty, empty, empty.bool()).advantages.shape == (2, 0)
    assert rewards_at_end(torch.ones(2), empty.bool()).shape == (2, 0)


@given(st.permutations(range(5)), st.integers(0, 4))
def test_whitening_ignores_row_order_and_padding(order: list[int], padding: int) -> None:
    values, mask = torch.randn(5, 6, generator=torch.Generator().manual_seed(3)), ragged([6, 2, 3, 0, 1])
    wide = torch.nn.functional.pad(values, (0, padding), value=math.nan)[order]
    found = whiten(wide, torch.nn.functional.pad(mask, (0, padding))[order])
    torch.testing.assert_close(found[:, :6], whiten(values, mask)[order], atol=1e-6, rtol=1e-6)


def naive_group(rows: list[list[float]], plain: list[float] | None) -> list[list[float]]:
    """Each reward against mean and standard deviation of its own group, in plain Python."""
    found = []
    for number, row in enumerate(rows):
        everyone = row + ([plain[number]] if plain else [])
        mean = sum(everyone) / len(everyone)
        spread = math.sqrt(sum((each - mean) ** 2 for each in everyone) / len(everyone))
        found.append([(each - mean) / spread for each in row])
    return found


def check_groups(fn: Callable[..., Tensor]) -> None:
    """With and without the plain prompts' rewards."""
    rows = [[1.0, 2.0, 4.5], [10.0, -3.0, 0.25]]
    for plain in (None, [0.5, -2.0]):
        found = fn(torch.tensor(rows), None if plain is None else torch.tensor(plain))
        torch.testing.assert_close(found, torch.tensor(naive_group(rows, plain)))


def test_groups_are_the_naive_ones() -> None:
    check_groups(group_advantages)


def test_the_plain_row_moves_the_baseline_and_has_no_advantage_itself() -> None:
    rewards = torch.tensor([[4.0, 4.0]])
    assert group_advantages(rewards).tolist() == [[0.0, 0.0]]
    with_plain = group_advantages(rewards, torch.tensor([1.0]), scale="none")
    assert with_plain.tolist() == [[1.0, 1.0]], "both rewrites beat the plain prompt"


def test_scales() -> None:
    rewards = torch.tensor([[0.0, 2.0], [0.0, 20.0]])
    torch.testing.assert_close(group_advantages(rewards), torch.tensor([[-1.0, 1.0], [-1.0, 1.0]]))
    torch.testing.assert_close(
        group_advantages(rewards, scale="none"), torch.tensor([[-1.0, 1.0], [-10.0, 10.0]])
    )
    spread = math.sqrt((1 + 1 + 100 + 100) / 4)
    torch.testing.assert_close(
        group_advantages(rewards, scale="batch"), torch.tensor([[-1.0, 1.0], [-10.0, 10.0]]) / spread
    )


def test_group_shift_and_scale_change_nothing() -> None:
    rewards = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(
        group_advantages(rewards), group_advantages(rewards * 7 + 30), atol=1e-4, rtol=0
    )


# What must not go unnoticed: (function, what is rewritten, into what).
MUTATIONS = [
    (
        "generalized_advantages",
        "rewards + discount * follows - values",
        "rewards + discount * values - values",
    ),
    ("generalized_advantages", "discount * decay * ahead", "decay * ahead"),
    ("generalized_advantages", "discount * decay * ahead", "discount * ahead"),
    ("generalized_advantages", "follows[:, :-1] = values[:, 1:]", "follows[:, 1:] = values[:, :-1]"),
    ("generalized_advantages", "ahead = surprises[:, step] +", "ahead = surprises[:, step] - "),
    ("generalized_advantages", "reversed(range(values.shape[1]))", "range(values.shape[1])"),
    ("generalized_advantages", "advantages + values", "advantages"),
    ("generalized_advantages", "torch.where(mask, each, 0.0) for each", "each for each"),  # mask ignored
    ("whiten", "mask.sum()", "torch.ones_like(mask).sum()"),
    ("whiten", "torch.where(mask, values, 0.0)", "values"),
    ("whiten", "values - inside.sum() / count", "values"),  # not centred
    ("group_advantages", "everyone.mean(1, keepdim=True)", "rewards.mean(1, keepdim=True)"),
    ("group_advantages", "everyone.mean(1, keepdim=True)", "everyone.mean()"),  # one baseline for all prompts
    ("group_advantages", "squares.mean(1, keepdim=True)", "squares.mean()"),
    ("group_advantages", "rewards - mean, spread", "mean - rewards, spread"),
]


def check_all(functions: dict[str, Any]) -> None:
    check_gae(functions["generalized_advantages"])
    check_whitening(functions["whiten"])
    check_groups(functions["group_advantages"])


@pytest.mark.parametrize(("name", "before", "after"), MUTATIONS)
def test_a_mutated_function_fails(name: str, before: str, after: str) -> None:
    source = inspect.getsource(getattr(advantages, name))
    assert before in source
    space = dict(vars(advantages))
    exec(compile(source.replace(before, after), "<mutant>", "exec"), space)
    with pytest.raises(AssertionError):
        check_all(space)


def test_differences_that_are_rounding_of_what_they_came_from_are_none() -> None:
    """Two pictures that are the same but for the last bit of their rewards teach nothing."""
    rewards = torch.tensor([4.0, 4.0000005, 3.0, 3.0, 4.5, 4.5])
    gained, mask = compare_controls(rewards, 2), torch.ones(6, dtype=torch.bool)
    assert gained.abs().max() > 0
    assert whiten(gained, mask).abs().max() > 1
    assert whiten(gained, mask, size=rewards.abs().max()).tolist() == [0.0] * 6
    assert whiten(torch.tensor([1.0, -1.0]), mask[:2], size=torch.tensor(4.0)).tolist() == [1.0, -1.0]


@given(st.integers(2, 4), st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=5), st.randoms())
def test_controls_are_compared_with_the_others_of_their_words(
    draws: int, means: list[float], chance: Any
) -> None:
    """By a loop; and what noise and words add to all rows of a rewrite changes nothing."""
    rows = [[chance.uniform(-3, 3) for _ in range(draws)] for _ in means]
    flat = torch.tensor([value for row in rows for value in row], dtype=torch.float64)
    naive = [
        value - sum(row[:at] + row[at + 1 :]) / (draws - 1) for row in rows for at, value in enumerate(row)
    ]
    torch.testing.assert_close(compare_controls(flat, draws), torch.tensor(naive, dtype=torch.float64))
    luck = torch.tensor(means, dtype=torch.float64).repeat_interleave(draws)
    torch.testing.assert_close(compare_controls(flat + luck, draws), compare_controls(flat, draws))
    pooled = pool_controls(flat, draws).reshape(-1, draws)
    torch.testing.assert_close(
        pooled, torch.tensor(rows, dtype=torch.float64).mean(1, True).expand_as(pooled)
    )
