"""Making a model ready: dropout, low-rank layers, and a base policy that is not what the recipe says."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from dfprompt.errors import ConfigError
from dfprompt.training.model_setup import policy_fields, set_up_model
from dfprompt.training.settings import ModelSettings
from tiny_policies import tiny_model


@pytest.mark.parametrize("trunk", ["gpt2", "llama"])
def test_dropout_is_set_everywhere(trunk: str) -> None:
    model = set_up_model(tiny_model(trunk=trunk), ModelSettings(dropout=0.3), seed=0)
    layers = [layer.p for layer in model.modules() if isinstance(layer, nn.Dropout)]
    attention = [layer.attention_dropout for layer in model.modules() if hasattr(layer, "attention_dropout")]
    assert set(layers + attention) == {0.3}


def test_low_rank_layers_start_from_the_seed() -> None:
    def layers(seed: int) -> list[torch.Tensor]:
        settings = ModelSettings.model_validate({"lora": {"rank": 2}})
        model = set_up_model(tiny_model(), settings, seed=seed)
        assert any("lora_A" in name for name, _ in model.named_parameters())
        return [each.detach().clone() for name, each in model.named_parameters() if "lora_A" in name]

    assert all(torch.equal(left, right) for left, right in zip(layers(1), layers(1), strict=True))
    assert not torch.equal(layers(1)[0], layers(2)[0])


def test_a_policy_with_another_control_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"model\.control is phrase.*has token"):
        set_up_model(tiny_model("token"), ModelSettings(), seed=0)
    with pytest.raises(ConfigError, match=r"model\.ranges"):
        set_up_model(tiny_model(), ModelSettings(ranges=("full", "late")), seed=0)


def test_the_recipes_tables_are_a_policys_fields() -> None:
    fields = policy_fields(ModelSettings(weights=(0.5, 1.0), weight_start=(0.3, 0.7)))
    assert fields["weights"] == [0.5, 1.0]
    assert "base" not in fields
