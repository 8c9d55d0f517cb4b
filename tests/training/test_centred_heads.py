"""Centred heads are the same heads: at once, when saved, from a checkpoint, and with low-rank layers."""

from __future__ import annotations

from pathlib import Path

import torch

from dfprompt.policy import load_policy_folder, save_policy_folder
from dfprompt.policy.lora import add_lora
from dfprompt.training.centred_heads import as_saved, centre_heads, mean_of, subtract_mean
from tiny_policies import WIDTH, tiny_model, tiny_policy

TOKENS = torch.arange(1, 7)[None]


def some_mean() -> torch.Tensor:
    return 3 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(0))


def test_they_say_the_same_and_are_saved_as_they_were(tmp_path: Path) -> None:
    policy = tiny_policy()
    before, bias = policy.model(TOKENS).range_logits, policy.model.range_head.bias.detach().clone()
    assert mean_of(policy.model) is None
    centre_heads(policy.model, some_mean())
    torch.testing.assert_close(policy.model(TOKENS).range_logits, before, atol=1e-5, rtol=1e-5)
    assert not torch.allclose(policy.model.range_head.bias, bias)
    with as_saved(policy.model):
        torch.testing.assert_close(policy.model.range_head.bias, bias, atol=1e-5, rtol=1e-5)
        save_policy_folder(policy, tmp_path / "policy")
    read = load_policy_folder(tmp_path / "policy").model
    torch.testing.assert_close(read(TOKENS).range_logits, before, atol=1e-5, rtol=1e-5)
    assert mean_of(read) is None


def test_what_all_states_share_no_longer_moves_other_phrases() -> None:
    """A step on one state moves the logits at another by their product without the mean, and the bias."""
    states = some_mean() + torch.randn(2, WIDTH, generator=torch.Generator().manual_seed(1))
    model = tiny_model()
    centre_heads(model, some_mean())
    head = model.range_head
    before = head(states)[1].detach()
    head(states)[0, 0].backward()
    with torch.no_grad():
        head.weight += head.weight.grad
        head.bias += head.bias.grad
    moved = float((head(states)[1].detach() - before)[0])
    apart = states - some_mean()
    assert abs(moved - float(apart[0] @ apart[1]) - 1) < 1e-3
    assert abs(float(states[0] @ states[1])) > 10 * abs(float(apart[0] @ apart[1]))


def test_a_mean_from_a_checkpoint_leaves_the_biases_it_was_saved_with() -> None:
    one, two = tiny_model(), tiny_model(seed=5)
    centre_heads(one, some_mean())
    two.load_state_dict(one.state_dict())
    subtract_mean(two, some_mean())
    assert torch.equal(one(TOKENS).range_logits, two(TOKENS).range_logits)
    subtract_mean(two, some_mean())  # once more: it is subtracted once all the same
    assert torch.equal(one(TOKENS).range_logits, two(TOKENS).range_logits)


def test_heads_beside_low_rank_layers_are_centred_too() -> None:
    model = add_lora(tiny_model(), rank=2)
    before = model(TOKENS).weight_logits.detach()
    centre_heads(model, some_mean())
    torch.testing.assert_close(model(TOKENS).weight_logits, before, atol=1e-5, rtol=1e-5)
    found = mean_of(model)
    assert found is not None
    with as_saved(model):
        assert mean_of(model) is not None
