"""The optimiser: its groups, its defaults, the learning rate by hand."""

from __future__ import annotations

import math

import pytest
from torch import nn

from dfprompt.config import load_config
from dfprompt.errors import ConfigError
from dfprompt.training.optimization import learning_rate, make_optimizer
from dfprompt.training.settings import OptimizerSettings


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
