"""Rollouts: seeds by step, groups on one noise, rewards in order whatever the batches, none that is NaN."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import pytest
import torch

from dfprompt.errors import RewardError
from dfprompt.executor import LocalExecutor
from dfprompt.policy import SamplingSettings
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.rl_loop import words_of
from dfprompt.training.rl_settings import RolloutSettings
from dfprompt.training.rollout import (
    Attempt,
    Rollout,
    RolloutPlan,
    Task,
    attempt_json,
    describe_rollout,
    draws_for,
    join_rollouts,
    plain_rewrite,
    roll_out,
    score_attempts,
    share_draws,
    validation_draws,
)
from tiny_policies import tiny_policy

TASKS = [Task("a red cat", {"subject": "cat"}), Task("the blue star"), Task("a hill in the snow")]
HOW = RolloutSettings(rows=6, max_new_tokens=10, batch_size=3)


class Meter:
    """A reward that counts modifiers, and remembers what it was asked."""

    def __init__(self) -> None:
        self.batches: list[list[Attempt]] = []

    def __call__(self, attempts: Sequence[Attempt]) -> RewardTerms:
        self.batches.append(list(attempts))
        count = torch.tensor([float(len(each.rewrite.modifiers)) for each in attempts])
        noise = torch.tensor([each.image_seed / 2**40 for each in attempts])
        return RewardTerms(count + noise, {"count": count}, {"count": count, "noise": noise}, {})


def rolled(batch_size: int = 3, *, group: int = 2, keep_plain: bool = False) -> tuple[Rollout, Meter]:
    meter = Meter()
    how = HOW.model_copy(update={"batch_size": batch_size})
    draws = draws_for(TASKS, group, [1, 2])
    found = roll_out(tiny_policy(), draws, meter, LocalExecutor(), how, keep_plain=keep_plain)
    return found, meter


def test_steps_are_functions_of_seed_and_step() -> None:
    plan = RolloutPlan(TASKS, rows=4, group=2, seed=3)
    again = RolloutPlan(TASKS, rows=4, group=2, seed=3)
    later = [again.draws(step) for step in (5, 2, 0)]
    assert [plan.draws(step) for step in (5, 2, 0)] == later
    assert plan.draws(0) != RolloutPlan(TASKS, rows=4, group=2, seed=4).draws(0)
    seeds = [seed for step in range(50) for row in plan.draws(step).seeds for seed in row]
    assert len(set(seeds)) == len(seeds) == 200
    images = {seed for step in range(50) for seed in plan.draws(step).image_seeds}
    assert len(images) == 100
    assert validation_draws(TASKS, 3) == validation_draws(TASKS, 3)


def test_an_epoch_takes_every_prompt_once() -> None:
    plan = RolloutPlan(TASKS, rows=1, group=1, seed=0)
    assert sorted(plan.draws(step).tasks[0].prompt for step in range(3)) == sorted(t.prompt for t in TASKS)


def test_a_group_shares_prompt_noise_and_record() -> None:
    found, _ = rolled()
    texts = [each.rewrite.plain for each in found.attempts]
    assert texts == [task.prompt for task in TASKS for _ in range(2)]
    noise = [each.image_seed for each in found.attempts]
    assert noise[0::2] == noise[1::2]
    assert len(set(noise)) == 3
    assert found.attempts[1].record == {"subject": "cat"}
    assert len({each.rewrite.seed for each in found.attempts}) == 6, "and no two draws are the same"


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
@pytest.mark.parametrize("keep_plain", [False, True])
def test_batches_hold_whole_groups_and_change_no_reward(batch_size: int, keep_plain: bool) -> None:
    whole, _ = rolled(1000, keep_plain=keep_plain)
    found, meter = rolled(batch_size, keep_plain=keep_plain)
    assert torch.equal(found.terms.reward, whole.terms.reward)
    assert [str(a.rewrite.prompt) for a in found.attempts] == [str(a.rewrite.prompt) for a in whole.attempts]
    for batch in meter.batches:
        assert len(batch) % (2 + keep_plain) == 0
    expected = [len(each.rewrite.modifiers) for each in found.attempts]
    assert found.terms.scores["count"].tolist() == expected


def test_the_plain_prompt_is_rewarded_beside_its_group_and_is_no_row() -> None:
    found, meter = rolled(keep_plain=True)
    assert found.plain is not None
    assert found.plain.shape == (3,)
    assert len(found.trajectory) == len(found.attempts) == len(found.terms.reward) == 6
    plain = [each for batch in meter.batches for each in batch][2::3]
    assert all(not each.rewrite.changed and str(each.rewrite.prompt) == each.rewrite.plain for each in plain)
    assert [each.image_seed for each in plain] == [each.image_seed for each in found.attempts[::2]]
    torch.testing.assert_close(found.plain, torch.tensor([each.image_seed / 2**40 for each in plain]))


def test_controls_drawn_twice_share_words_noise_and_batch_of_their_group() -> None:
    plan = RolloutPlan(TASKS, rows=8, group=2, control_draws=2, seed=3)
    assert [len(seeds) for seeds in plan.draws(0).seeds] == [2, 2]
    meter, how = Meter(), HOW.model_copy(update={"control_draws": 2, "batch_size": 4})
    found = roll_out(tiny_policy(), plan.draws(0), meter, LocalExecutor(), how)
    assert [len(batch) for batch in meter.batches] == [4, 4]
    assert len(found.trajectory) == 8
    once = roll_out(tiny_policy(), plan.draws(0), Meter(), LocalExecutor(), HOW)
    assert [each.rewrite.prompt for each in found.attempts[::2]] == [
        each.rewrite.prompt for each in once.attempts
    ]
    differ = 0
    for one, two in zip(found.attempts[::2], found.attempts[1::2], strict=True):
        assert one.image_seed == two.image_seed
        texts = [[each.text for each in at.rewrite.modifiers] for at in (one, two)]
        assert texts[0] == texts[1]
        differ += one.rewrite.prompt != two.rewrite.prompt
    assert differ > 0


def test_rewrites_in_several_draws_count_once_in_what_a_rollout_is_described_by() -> None:
    """Reward and spread by hand from the pairs' means; words as those of the first draws alone."""
    how = HOW.model_copy(update={"control_draws": 2})
    plan = RolloutPlan(TASKS, rows=12, group=2, control_draws=2, seed=3)
    found = roll_out(tiny_policy(), plan.draws(0), Meter(), LocalExecutor(), how)
    rewards = torch.tensor([2.0, 4.0, 6.0, 6.0, 1.0, 3.0, 0.0, 2.0, 5.0, 5.0, 5.0, 7.0])
    found = dataclasses.replace(found, terms=dataclasses.replace(found.terms, reward=rewards))
    means = torch.tensor([3.0, 6.0, 2.0, 1.0, 5.0, 6.0])
    described = describe_rollout(found, tiny_policy())
    assert described["reward"] == pytest.approx(float(means.mean()))
    assert described["reward_spread"] == pytest.approx(float(means.std(correction=0)))
    once = roll_out(tiny_policy(), plan.draws(0), Meter(), LocalExecutor(), HOW)
    assert described["distinct_modifiers"] == describe_rollout(once, tiny_policy())["distinct_modifiers"]
    assert words_of(found) == words_of(once)
    parts = [
        roll_out(tiny_policy(), share_draws(plan.draws(0), at, 2), Meter(), LocalExecutor(), how)
        for at in range(2)
    ]
    assert join_rollouts(parts, 0).control_draws == 2


def test_watched_rows_have_one_draw_of_their_controls() -> None:
    how = HOW.model_copy(update={"control_draws": 3})
    draws = validation_draws(TASKS, seed=1)
    found = roll_out(tiny_policy(), draws, Meter(), LocalExecutor(), how, watched=True)
    assert len(found.trajectory) == len(TASKS)


def test_rows_are_drawn_untruncated() -> None:
    found, _ = rolled()
    drawn = found.trajectory
    again = tiny_policy().sample(
        [each.rewrite.plain for each in found.attempts],
        [each.rewrite.seed for each in found.attempts],
        SamplingSettings(max_new_tokens=10).for_rollouts(),
    )
    assert torch.equal(drawn.tokens, again.tokens)
    assert not any(phrase.dropped.startswith("banned") for row in drawn.phrases for phrase in row)


@pytest.mark.parametrize("processes", [2, 3, 4])
def test_shares_of_several_processes_are_the_whole(processes: int) -> None:
    whole, _ = rolled(keep_plain=True)
    draws = draws_for(TASKS, 2, [1, 2])
    shares = [share_draws(draws, each, processes) for each in range(processes)]
    assert sum((share.tasks for share in shares), ()) == draws.tasks
    parts = [
        roll_out(tiny_policy(), share, Meter(), LocalExecutor(), HOW, keep_plain=True)
        for share in shares
        if share.tasks
    ]
    joined = join_rollouts(parts, fill=0)
    assert torch.equal(joined.terms.reward, whole.terms.reward)
    assert joined.plain is not None
    assert whole.plain is not None
    assert torch.equal(joined.plain, whole.plain)
    assert [each.rewrite.seed for each in joined.attempts] == [each.rewrite.seed for each in whole.attempts]
    mask = whole.trajectory.token_mask
    assert torch.equal(joined.trajectory.tokens[mask], whole.trajectory.tokens[mask])


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_reward_that_is_no_number_is_refused_with_its_prompt(bad: float) -> None:
    attempts = [Attempt(plain_rewrite("a red cat"), 1), Attempt(plain_rewrite("a star"), 2)]

    def broken(rows: Sequence[Attempt]) -> RewardTerms:
        return RewardTerms(torch.tensor([1.0, bad])[: len(rows)], {}, {}, {})

    with pytest.raises(RewardError, match="a star"):
        score_attempts(attempts, broken, LocalExecutor(), 2)
    with pytest.raises(RewardError, match="shape"):
        score_attempts(attempts, lambda rows: RewardTerms(torch.ones(5), {}, {}, {}), LocalExecutor(), 2)


def test_a_rollout_is_described_by_hand_counted_numbers() -> None:
    found, _ = rolled()
    described = describe_rollout(found, tiny_policy())
    modifiers = [span for each in found.attempts for span in each.rewrite.modifiers]
    assert described["modifiers"] == pytest.approx(len(modifiers) / 6)
    assert described["default_controls"] == pytest.approx(
        sum(m.is_neutral for m in modifiers) / len(modifiers)
    )
    assert described["distinct_modifiers"] == pytest.approx(len({m.text for m in modifiers}) / len(modifiers))
    assert described["terms/count"] == pytest.approx(len(modifiers) / 6)
    row = attempt_json(found, 1)
    assert row["plain"] == "a red cat"
    assert row["reward"] == pytest.approx(float(found.terms.reward[1]), abs=1e-6)
