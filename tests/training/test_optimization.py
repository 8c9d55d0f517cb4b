"""The optimiser: its groups, its defaults, the learning rate by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from dfprompt.config import load_config
from dfprompt.errors import ConfigError
from dfprompt.training.optimization import learning_rate, make_optimizer, set_learning_rate
from dfprompt.training.settings import OptimizerSettings
from tiny_policies import tiny_model


def rates(**settings: object) -> list[float]:
    made = OptimizerSettings(steps=20, learning_rate=2.0, **settings)  # type: ignore[arg-type]
    return [learning_rate(made, step) for step in range(21)]


def test_constant_after_a_linear_warm_up() -> None:
    assert rates(schedule="constant", warmup_steps=4)[:6] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]


def test_linear_reaches_its_end() -> None:
    found = rates(schedule="linear", final_learning_rate=0.1)
    assert found[0] == 2.0
    assert found[10] == pytest.approx(1.1)
    assert found[20] == pytest.approx(0.2)


def test_cosine_is_half_way_down_in_the_middle() -> None:
    found = rates(schedule="cosine")
    assert found[10] == pytest.approx(1.0)
    assert found[5] == pytest.approx(1 + math.cos(math.pi / 4))
    assert found[20] == pytest.approx(0.0)


def test_only_matrices_decay_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3), nn.Linear(3, 1))
    model[2].weight.requires_grad_(False)
    optimizer = make_optimizer(model, OptimizerSettings(weight_decay=0.5))
    matrices, others = optimizer.param_groups
    assert [each.ndim for each in matrices["params"]] == [2]
    assert matrices["weight_decay"] == 0.5
    assert others["weight_decay"] == 0
    assert len(others["params"]) == 4
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(ConfigError, match="nothing to train"):
        make_optimizer(model, OptimizerSettings())


def test_the_betas_are_adams_own() -> None:
    """Trap 6 of the published code: betas (0.9, 0.9)."""
    optimizer = make_optimizer(nn.Linear(2, 2), OptimizerSettings())
    assert optimizer.defaults["betas"] == (0.9, 0.999)


@pytest.mark.parametrize(
    "wrong", ["betas=[0.9, 1.0]", "warmup_steps=2000", "learning_rate=0", "schedule=step", "max_grad_norm=-1"]
)
def test_settings_that_cannot_be_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        load_config(OptimizerSettings, assignments=[wrong])


def test_heads_move_at_their_own_rate_and_every_parameter_is_in_one_group() -> None:
    """One step of AdamW without decay moves every parameter by its rate, whatever its gradient."""
    model, rates = tiny_model(), OptimizerSettings(learning_rate=1e-3, weight_decay=0.0)
    optimizer = make_optimizer(model, rates, heads_rate=5.0)
    grouped = [id(each) for group in optimizer.param_groups for each in group["params"]]
    assert sorted(grouped) == sorted({id(each) for each in model.parameters()})
    set_learning_rate(optimizer, 2e-3)
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    for each in model.parameters():
        each.grad = torch.ones_like(each)
    optimizer.step()
    for name, each in model.named_parameters():
        moved = float((each.detach() - before[name]).abs().max())
        expected = 1e-2 if name.startswith(("range_head", "weight_head")) else 2e-3
        assert moved == pytest.approx(expected, rel=1e-2), name


def test_without_a_rate_of_their_own_heads_are_in_the_usual_groups() -> None:
    model = tiny_model()
    groups = make_optimizer(model, OptimizerSettings()).param_groups
    assert len(groups) == 2
    assert [id(each) for each in groups[0]["params"]] == [id(e) for e in model.parameters() if e.ndim >= 2]
