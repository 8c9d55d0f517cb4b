"""The training path's log-probabilities: equal to those recorded while sampling, and to a naive reading."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from dfprompt.policy import Bans, Policy, SamplingSettings, Trajectory, compute_logprobs, join_trajectories
from tiny_policies import naive_masks, tiny_policy

CONTROLS = ("phrase", "token", "none")
RAGGED = ("a red cat on a hill", "cat", "", "the blue star in the snow, at night, with film grain and more")
SHORT = SamplingSettings(max_new_tokens=24)
HOW = {
    "rollout": SHORT.for_rollouts(),
    "no cache": dataclasses.replace(SHORT.for_rollouts(), use_cache=False),
    "truncated": dataclasses.replace(SHORT, temperature=0.7, top_k=20, top_p=0.9),
    "bans": dataclasses.replace(SHORT, bans=Bans(substrings=["o", "e"])),
}


def drawn(policy: Policy, how: SamplingSettings, rows: int = 16, **more: object) -> Trajectory:
    prompts = [RAGGED[row % len(RAGGED)] for row in range(rows)]
    return policy.sample(prompts, list(range(rows)), how, **more)  # type: ignore[arg-type]


def assert_recorded(found: object, trajectory: Trajectory, atol: float = 1e-4) -> None:
    for name in ("text", "range", "weight"):
        recorded = getattr(trajectory, f"{name}_logprobs")
        torch.testing.assert_close(getattr(found, name), recorded, atol=atol, rtol=0)


@pytest.mark.parametrize("trunk", ["gpt2", "llama"])
@pytest.mark.parametrize("how", list(HOW))
@pytest.mark.parametrize("control", CONTROLS)
@pytest.mark.few(8)
def test_they_equal_those_recorded_while_sampling(control: str, how: str, trunk: str) -> None:
    policy = tiny_policy(control, trunk=trunk, ending=4.5)
    trajectory = drawn(policy, HOW[how], acting=[True, False, True])
    assert trajectory.control_mask.any() == (control != "none")
    assert len(set(trajectory.token_mask.sum(1).tolist())) > 2, "the rows must be ragged"
    with torch.no_grad():
        assert_recorded(compute_logprobs(policy.model, policy.vocabulary, trajectory), trajectory)


@pytest.mark.parametrize("control", CONTROLS)
def test_they_equal_a_naive_reading_token_by_token(control: str) -> None:
    """One row at a time, one pass per token, no padding, no cache, softmax by hand."""
    policy = tiny_policy(control)
    trajectory = drawn(policy, HOW["rollout"], rows=6)
    with torch.no_grad():
        found = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    masks = naive_masks(policy.vocabulary)
    seen = 0
    for row in range(6):
        context = trajectory.context_ids[row][trajectory.context_mask[row].bool()].tolist()
        tokens = trajectory.tokens[row][trajectory.token_mask[row]].tolist()
        state = 0
        for at, token in enumerate(tokens):
            before, behind = context + tokens[:at], context + tokens[: at + 1]
            text = naive_logprob(policy, before, "logits", token, masks[state])
            assert math.isclose(text, float(found.text[row, at]), abs_tol=1e-4)
            state = 1 if token in policy.vocabulary.separator_ids else 2
            if not trajectory.control_mask[row, at]:
                assert found.range[row, at] == found.weight[row, at] == 0
                continue
            seen += 1
            read = behind if control == "phrase" else before
            for name, ids in (("range", trajectory.range_ids), ("weight", trajectory.weight_ids)):
                expected = naive_logprob(policy, read, f"{name}_logits", int(ids[row, at]))
                assert math.isclose(expected, float(getattr(found, name)[row, at]), abs_tol=1e-4)
    assert seen > 5 or control == "none"


def naive_logprob(
    policy: Policy, ids: list[int], what: str, index: int, allowed: list[bool] | None = None
) -> float:
    with torch.no_grad():
        logits = getattr(policy.model(torch.tensor([ids])), what)[0, -1].double().tolist()
    kept = [x for x, fine in zip(logits, allowed or [True] * len(logits), strict=True) if fine]
    return logits[index] - math.log(sum(math.exp(x) for x in kept))


def test_the_drawn_classes_count_and_not_the_defaults() -> None:
    """Trap 1 of the published code: log-probabilities gathered at constant classes train nothing."""
    policy = tiny_policy()
    trajectory = drawn(policy, HOW["rollout"], rows=32)
    where = trajectory.control_mask
    for ids, classes in ((trajectory.range_ids, 3), (trajectory.weight_ids, 5)):
        assert len(set(ids[where].tolist())) == classes, "every class must have been drawn"
    found = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    defaults = dataclasses.replace(
        trajectory,
        range_ids=torch.zeros_like(trajectory.range_ids),
        weight_ids=torch.full_like(trajectory.weight_ids, 2),
    )
    constant = compute_logprobs(policy.model, policy.vocabulary, defaults)
    assert (found.range - constant.range).abs().max() > 0.1
    assert (found.weight - constant.weight).abs().max() > 0.1


@pytest.mark.parametrize("control", ["phrase", "token"])
def test_a_step_on_them_makes_the_drawn_controls_likelier(control: str) -> None:
    policy = tiny_policy(control)
    trajectory = drawn(policy, HOW["rollout"])
    model = policy.model
    before = compute_logprobs(model, policy.vocabulary, trajectory)
    (before.range.sum() + before.weight.sum()).backward()
    with torch.no_grad():
        for head in (model.range_head, model.weight_head):
            for parameter in head.parameters():
                assert parameter.grad is not None
                assert parameter.grad.abs().sum() > 0
                parameter += 1e-3 * parameter.grad
    after = compute_logprobs(model, policy.vocabulary, trajectory)
    assert after.range.sum() > before.range.sum()
    assert after.weight.sum() > before.weight.sum()


def test_padding_moves_nothing() -> None:
    policy = tiny_policy()
    trajectory = drawn(policy, HOW["rollout"])
    wide = trajectory.padded(left=5, right=7, fill=3)
    plain = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    found = compute_logprobs(policy.model, policy.vocabulary, wide)
    width = trajectory.tokens.shape[1]
    for name in ("text", "range", "weight"):
        torch.testing.assert_close(getattr(found, name)[:, :width], getattr(plain, name), atol=1e-5, rtol=0)
        assert not getattr(found, name)[:, width:].any()
    trimmed = wide.trimmed()
    assert trimmed.tokens.shape == trajectory.tokens.shape
    assert trimmed.context_ids.shape == trajectory.context_ids.shape


def test_rows_selected_and_joined_keep_their_numbers() -> None:
    policy = tiny_policy()
    trajectory = drawn(policy, HOW["rollout"])
    parts = [trajectory.select([5, 1, 2]), trajectory.select([0])]
    joined = join_trajectories(parts, fill=0)
    assert [len(part) for part in parts] == [3, 1]
    assert joined.phrases == tuple(trajectory.phrases[row] for row in (5, 1, 2, 0))
    torch.testing.assert_close(joined.logprobs, trajectory.logprobs[[5, 1, 2, 0]])
    assert_recorded(compute_logprobs(policy.model, policy.vocabulary, joined), joined)


def test_gradients_are_finite_and_stay_inside_the_rows() -> None:
    policy = tiny_policy()
    trajectory = drawn(policy, HOW["rollout"]).padded(left=3, right=3, fill=1)
    found = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    (found.text.sum() + found.range.sum() + found.weight.sum()).backward()
    for parameter in policy.model.parameters():
        assert parameter.grad is None or parameter.grad.isfinite().all()


def test_a_batch_that_ends_at_once_everywhere_is_finite() -> None:
    policy = tiny_policy(budget=1)
    trajectory = policy.sample(["a red cat", "a blue star"], [1, 2], HOW["rollout"])
    assert trajectory.tokens.shape == (2, 0)
    found = compute_logprobs(policy.model, policy.vocabulary, trajectory)
    assert found.text.shape == found.range.shape == (2, 0)
    (found.text.sum() + found.range.sum()).backward()


def test_whole_distributions_are_given_for_divergences() -> None:
    policy = tiny_policy()
    trajectory = drawn(policy, HOW["rollout"], acting=[True, True, False])
    found = compute_logprobs(policy.model, policy.vocabulary, trajectory, whole_text=True)
    torch.testing.assert_close(found.range_all.exp().sum(-1), torch.ones_like(found.text))
    assert (found.range_all[..., 2] == -torch.inf).all()
    assert found.text_all is not None
    assert found.text_all.shape[:2] == trajectory.tokens.shape
    chosen = found.text_all.gather(-1, trajectory.tokens[..., None])[..., 0]
    torch.testing.assert_close(chosen[trajectory.text_mask], found.text[trajectory.text_mask])
    assert compute_logprobs(policy.model, policy.vocabulary, trajectory).text_all is None


def test_forced_choices_carry_no_logprob() -> None:
    """A row cut by a limit has no log-probability for its end: nobody chose it."""
    policy = tiny_policy(ending=-9.0)
    trajectory = drawn(policy, dataclasses.replace(HOW["rollout"], max_new_tokens=6))
    assert "length" in trajectory.ends
    assert not (trajectory.tokens[trajectory.token_mask] == policy.vocabulary.end_id).any()
    assert torch.equal(trajectory.text_mask, trajectory.token_mask)
