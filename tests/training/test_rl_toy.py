"""Stage 2 on a toy whose optimum is known: the wanted word, range and weight of every prompt are found.

The reward knows words, ranges and weights only. From stage 1, which says the wanted words now and then and
draws controls by its bias, PPO and GRPO reach at least 95 % of the optimum in all three: the test that the
published trainer, which gathers the controls' log-probabilities at constant classes, could not pass.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from dfprompt.policy import ActionLogprobs, Policy, compute_logprobs
from dfprompt.training.grpo import train_grpo
from dfprompt.training.ppo import train_ppo
from tiny_rl import PARTS, TASKS, grpo_settings, measure, ppo_settings, stage_one, toy_reward

GOAL = 0.95
# Heads and trunk have a gradient clip each, so PPO's steps on words are longer and want a better estimate:
# with the toy's 32 rows it stops at .945 of the optimum on one seed of five.
ROWS: dict[str, dict[str, Any]] = {"ppo": {"rollout": {"rows": 64}}, "grpo": {}}


def learn(algorithm: str, seed: int, folder: Path, **more: Any) -> tuple[Policy, dict[str, float]]:
    policy = stage_one()
    if algorithm == "ppo":
        train_ppo(policy, TASKS, TASKS, toy_reward, ppo_settings(seed=seed, **more), folder)
    else:
        train_grpo(policy, TASKS, TASKS, toy_reward, grpo_settings(seed=seed, **more), folder)
    return policy, measure(policy)


def test_stage_one_is_far_from_the_optimum() -> None:
    start = measure(stage_one())
    assert start["word"] < 0.5
    assert start["range"] < 0.3
    assert start["weight"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [pytest.param("ppo", marks=pytest.mark.nightly), "grpo"])
def test_the_toy_is_solved(algorithm: str, tmp_path: Path) -> None:
    _, reached = learn(algorithm, 1, tmp_path / "run", **ROWS[algorithm])
    assert {name: share >= GOAL for name, share in reached.items()} == dict.fromkeys(PARTS, True), reached


@pytest.mark.nightly
@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_the_toy_is_solved_with_controls_drawn_twice(algorithm: str, tmp_path: Path) -> None:
    # Twice the rows, so that a rollout has as many different words as with one draw.
    how: dict[str, Any] = {"rollout": {"control_draws": 2, "rows": 64}}
    how |= {"group": {"size": 4}} if algorithm == "grpo" else {}
    _, reached = learn(algorithm, 1, tmp_path / "run", **how)
    assert min(reached.values()) >= GOAL, reached


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_the_toy_is_solved_on_every_seed(algorithm: str, seed: int, tmp_path: Path) -> None:
    _, reached = learn(algorithm, seed, tmp_path / "run", **ROWS[algorithm])
    assert min(reached.values()) >= GOAL, reached


CRITIC = {
    "critic": {"use": True, "warmup": 4, "memory": 1e6},
    "optimizer": {"centre_heads": True, "heads_rate": 3.0},
    "group": {"size": 8},
}


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", [pytest.param("ppo", marks=pytest.mark.nightly), "grpo"])
@pytest.mark.nightly
def test_the_toy_is_solved_by_critic_taught_heads(algorithm: str, tmp_path: Path) -> None:
    _, reached = learn(algorithm, 1, tmp_path / "run", **CRITIC)
    assert min(reached.values()) >= GOAL, reached


@pytest.mark.nightly
@pytest.mark.parametrize("seed", [2, 3, 4, 5])
@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
def test_the_toy_is_solved_by_critic_taught_heads_on_every_seed(
    algorithm: str, seed: int, tmp_path: Path
) -> None:
    _, reached = learn(algorithm, seed, tmp_path / "run", **CRITIC)
    assert min(reached.values()) >= GOAL, reached


@pytest.mark.nightly
def test_constant_classes_cannot_solve_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trap 1 put back: the heads do not find what is wanted, however good the words become."""

    def constant(model: Any, vocabulary: Any, trajectory: Any, **options: Any) -> ActionLogprobs:
        default = dataclasses.replace(
            trajectory,
            range_ids=torch.zeros_like(trajectory.range_ids),
            weight_ids=torch.full_like(trajectory.weight_ids, 2),
        )
        return compute_logprobs(model, vocabulary, default, **options)

    monkeypatch.setattr("dfprompt.training.update.compute_logprobs", constant)
    _, reached = learn("ppo", 1, tmp_path / "run")
    assert reached["range"] < 0.6
    assert reached["weight"] < 0.6
