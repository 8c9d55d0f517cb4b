"""Several tastes in one training: who is drawn for whom, whose reward counts, what the critic makes of it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.policy import load_policy_folder
from dfprompt.policy.rewrite import Rewrite
from dfprompt.prompt import DFPrompt
from dfprompt.rewards import CompositeReward, as_score
from dfprompt.rewards.settings import CompositeSettings
from dfprompt.training.control_critic import ControlCritic
from dfprompt.training.grpo import train_grpo
from dfprompt.training.phrases import Phrases
from dfprompt.training.picture_reward import PictureReward
from dfprompt.training.rl_settings import CriticSettings
from dfprompt.training.rollout import (
    Attempt,
    RolloutPlan,
    Task,
    join_terms,
    share_draws,
    validation_draws,
)
from tiny_rl import TASKS, grpo_settings, stage_one, toy_reward

NAMES = ("painted", "graphic")
HEAD, TAIL = slice(0, 2), slice(2, 6)


def plan(dropout: float = 0.25, seed: int = 1) -> RolloutPlan:
    return RolloutPlan(TASKS, rows=800, group=4, seed=seed, tastes=NAMES, dropout=dropout)


def test_tastes_are_drawn_per_group_and_dropped_out_by_seed_and_step() -> None:
    drawn = [plan().draws(step).tastes for step in range(5)]
    assert drawn == [plan().draws(step).tastes for step in range(5)]
    assert drawn[0] != drawn[1]
    assert drawn[0] != plan(seed=2).draws(0).tastes
    every = [each for row in drawn for each in row]
    assert len(every) == 1000
    # Binomial: 250 of 1,000 with a spread of 14, and 375 each with one of 15.
    assert 190 < every.count("") < 310
    assert all(310 < every.count(name) < 440 for name in NAMES)
    assert set(plan(dropout=1.0).draws(0).tastes) == {""}
    assert "" not in plan(dropout=0.0).draws(0).tastes


def test_without_tastes_draws_are_as_ever() -> None:
    bare = RolloutPlan(TASKS, rows=800, group=4, seed=1).draws(0)
    assert bare.tastes == ()
    assert bare.seeds == plan().draws(0).seeds


def test_validation_takes_turns_and_processes_share_tastes() -> None:
    drawn = validation_draws([Task(f"a cat {number}") for number in range(5)], 1, NAMES)
    assert drawn.tastes == ("", "painted", "graphic", "", "painted")
    parts = [share_draws(drawn, process, 2) for process in range(2)]
    assert parts[0].tastes + parts[1].tastes == drawn.tastes


def level(value: float) -> object:
    def reward(images: Tensor, prompts: Sequence[str], records: object = None) -> Tensor:
        return value + images.mean((1, 2, 3))

    return reward


def test_each_picture_is_rewarded_by_its_own_taste(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {name: as_score(level(value)) for name, value in (("painted", 10.0), ("graphic", 20.0))}  # type: ignore[arg-type]
    reward = PictureReward(None, as_score(level(0.0)), tastes=scores)  # type: ignore[arg-type]
    shades = torch.tensor([0.1, 0.2, 0.3, 0.4])
    monkeypatch.setattr(reward, "_draw", lambda *_: shades[:, None, None, None].expand(4, 3, 8, 8))
    plain = Rewrite("a cat", DFPrompt.from_plain("a cat"), (), 0.0, 1, 0)
    asked = [Attempt(plain, 1, taste=taste) for taste in ("graphic", "", "painted", "graphic")]
    torch.testing.assert_close(reward(asked).reward, torch.tensor([20.1, 0.2, 10.3, 20.4]))


def test_tastes_made_of_other_scores_are_told_apart_by_those_they_share() -> None:
    """A taste without the crowd's preference model, one that is a function, in one batch or several."""
    images = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    bright = {"aesthetic": as_score(level(0.0)), "preference": as_score(level(5.0))}  # type: ignore[arg-type]
    crowd = CompositeReward(CompositeSettings(c=0.0, kappa=9.0), **bright)
    own = CompositeReward(CompositeSettings(c=0.0, d=0.0), aesthetic=as_score(level(1.0)))  # type: ignore[arg-type]
    asked = ["", "own", "", "own", "own", ""]
    for tastes in ({"own": own}, {"own": as_score(level(1.0))}):  # type: ignore[arg-type]
        reward = PictureReward(None, crowd, tastes=tastes)  # type: ignore[arg-type]
        rows = [{} for _ in asked]
        whole = reward._reward(images, asked, rows, {}, asked)
        halves = [reward._reward(images[at], asked[at], rows[at], {}, asked[at]) for at in (HEAD, TAIL)]
        level_of = images.mean((1, 2, 3))
        expected = [
            2 * light - 4 if taste == "" else 1 + light for light, taste in zip(level_of, asked, strict=True)
        ]
        torch.testing.assert_close(whole.reward, torch.stack(expected))
        torch.testing.assert_close(join_terms(halves).reward, whole.reward)
        shared = {"aesthetic"} if tastes["own"] is own else set()
        assert set(whole.scores) == shared
        assert {*whole.terms, *whole.binds} == {f"{name}_term" for name in shared}


def phrases(tastes: Tensor) -> Phrases:
    """One phrase a row, all alike but for whom it was written."""
    rows = len(tastes)
    same = torch.zeros(rows, 1, 2)
    at = torch.zeros(rows, 1, dtype=torch.long)
    controls = torch.arange(rows)[:, None] % 2
    return Phrases(same, same, same, controls, at, torch.ones(rows, 1, dtype=torch.bool), tastes)


def test_the_critic_learns_of_another_taste_by_half() -> None:
    """By hand: rows of two differ in control; k = 1 in taste and 1/2 across, so the answer is half."""
    critic = ControlCritic(2, torch.tensor([1.0]), CriticSettings())
    seen = phrases(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    critic.learn(seen, torch.tensor([[1.0], [0.0]]), 2)
    own = critic.worth(seen)
    other = critic.worth(phrases(torch.tensor([[0.0, 1.0], [0.0, 1.0]])))
    torch.testing.assert_close(other, own / 2)
    assert own.abs().max() > 0.05


def test_a_run_learns_tastes_and_goes_on_with_them(tmp_path: Path) -> None:
    """Resumed at its middle checkpoint it comes to the same bits, the critic's memory of tastes included."""
    more = {
        "group": {"size": 4},
        "rollout": {"rows": 8, "max_new_tokens": 8, "batch_size": 8},
        "critic": {"use": True, "warmup": 1},
        "tastes": {"rewards": {"painted": "a", "graphic": "b"}},
        "checkpoints": {"interval": 2},
        "validation": {"interval": 2, "rows": 3},
    }
    optimizer = {"batch_size": 8, "micro_batch_size": 8, "learning_rate": 1e-3, "heads_rate": 5}

    def go(folder: Path, **how: bool) -> Tensor:
        policy = stage_one()
        policy.model.add_tastes(NAMES)
        settings = grpo_settings(**more, optimizer={**optimizer, "steps": 4})
        train_grpo(policy, TASKS, TASKS, toy_reward, settings, folder, **how)  # type: ignore[arg-type]
        return load_policy_folder(folder).model.taste_vectors.weight.detach()

    whole = go(tmp_path / "whole")
    assert whole.abs().max() > 0
    shutil.copytree(tmp_path / "whole", tmp_path / "resumed")
    shutil.rmtree(tmp_path / "resumed" / "checkpoints" / "step-00000004")
    assert torch.equal(go(tmp_path / "resumed", resume=True), whole)
    policy = stage_one()
    with pytest.raises(ConfigError, match="the policy has the tastes"):
        train_grpo(policy, TASKS, TASKS, toy_reward, grpo_settings(**more), tmp_path / "none")
