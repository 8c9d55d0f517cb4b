"""Tastes: what a mix means by hand, what a policy without any does, what is refused, the way to disk."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from dfprompt.errors import ConfigError
from dfprompt.policy import Policy, SamplingSettings, compute_logprobs, load_policy_folder, save_policy_folder
from dfprompt.policy.lora import add_lora
from dfprompt.policy.tastes import Mix, parse_taste, show_taste, strengths_of
from tiny_policies import storable_policy, tiny_policy

NAMES = ["painted", "graphic"]


def with_tastes(policy: Policy) -> Policy:
    policy.model.add_tastes(NAMES)
    torch.nn.init.normal_(policy.model.taste_vectors.weight, generator=torch.Generator().manual_seed(3))
    return policy


def written(policy: Policy, taste: Mix = ()) -> list[str]:
    settings = dataclasses.replace(SamplingSettings(), taste=taste)
    prompts = ["a cat", "a red boat at night"] * 3
    return [str(each.prompt) for each in policy.rewrite(prompts, list(range(6)), settings)]


@pytest.mark.parametrize("text", ["painted", "painted:0.5,graphic", "painted:0,graphic:2"])
def test_a_mix_is_read_back(text: str) -> None:
    assert show_taste(parse_taste(text)) == text


@pytest.mark.parametrize(
    "text", ["", "painted:", "painted:x", "painted:-1", "painted:2.01", "painted:nan", "a,a", ":1", "a,,b"]
)
def test_what_is_no_taste_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="taste"):
        parse_taste(text)


def test_unknown_tastes_name_those_there_are() -> None:
    with pytest.raises(ConfigError, match='"oil"; it has painted, graphic'):
        strengths_of((("oil", 1.0),), NAMES, "mine")
    with pytest.raises(ConfigError, match='"painted"; it has none'):
        written(tiny_policy(), (("painted", 1.0),))
    with pytest.raises(ConfigError, match="strength"):
        SamplingSettings(taste=(("painted", 3.0),))


def test_a_mix_adds_the_vectors_by_their_strengths() -> None:
    """What the trunk reads, by hand: each embedding plus half of one vector and twice the other."""
    model = with_tastes(tiny_policy()).model.eval()
    ids = torch.tensor([[1, 2, 3]])
    one, two = model.taste_vectors.weight.T
    by_hand = model.get_input_embeddings()(ids) + 0.5 * one + 2 * two
    expected = model.trunk(inputs_embeds=by_hand).logits
    found = model(ids, tastes=torch.tensor([[0.5, 2.0]])).logits
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(found, model(ids).logits)


def test_no_taste_and_strength_zero_are_the_crowd() -> None:
    crowd = written(tiny_policy())
    policy = with_tastes(tiny_policy())
    assert written(policy) == crowd == written(policy, (("painted", 0.0),))
    assert written(policy, (("painted", 1.0),)) != crowd


def test_training_reads_the_taste_each_row_was_drawn_with() -> None:
    policy = with_tastes(tiny_policy())
    tastes: list[Mix] = [(), (("painted", 1.0),), (("graphic", 0.5),)]
    drawn = policy.sample(["a cat"] * 3, [5, 5, 5], SamplingSettings().for_rollouts(), tastes=tastes)
    again = compute_logprobs(policy.model, policy.vocabulary, drawn)
    torch.testing.assert_close(again.text, drawn.text_logprobs, atol=1e-4, rtol=1e-4)
    assert drawn.select([2]).tastes.tolist() == [[0.0, 0.5]]
    other = dataclasses.replace(drawn, tastes=drawn.tastes.flip(0))
    assert not torch.allclose(compute_logprobs(policy.model, policy.vocabulary, other).text, again.text)


@pytest.mark.parametrize("lora", [False, True])
def test_tastes_are_saved_with_the_policy(tmp_path: Path, *, lora: bool) -> None:
    base = save_policy_folder(storable_policy(), tmp_path / "base")
    policy = with_tastes(load_policy_folder(base))
    if lora:
        add_lora(policy.model, rank=2, base=base)
    with torch.no_grad():
        for name, each in policy.model.named_parameters():
            if "taste_vectors" in name:
                each.fill_(0.3)
    loaded = load_policy_folder(save_policy_folder(policy, tmp_path / "saved"))
    assert loaded.model.config.tastes == NAMES
    assert written(loaded, (("painted", 1.0),)) == written(policy, (("painted", 1.0),))
    vectors = [each for name, each in loaded.model.named_parameters() if "taste_vectors" in name]
    assert vectors
    assert all(bool((each == 0.3).all()) for each in vectors[-1:])


@pytest.mark.parametrize("names", [["a", "a"], ["A b"], [""], [3]])
def test_a_config_with_impossible_names_is_refused(names: list[str]) -> None:
    from dfprompt.policy.configuration import PolicyConfig

    with pytest.raises(ConfigError, match="tastes need"):
        PolicyConfig(trunk={"model_type": "gpt2"}, tastes=names)
