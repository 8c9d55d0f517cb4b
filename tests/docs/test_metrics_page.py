"""docs/training.md explains every number that a training logs, and nothing that none does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from dfprompt.training.grpo import train_grpo
from dfprompt.training.ppo import train_ppo
from dfprompt.training.sft import train_sft
from tiny_rl import TASKS, grpo_settings, ppo_settings, toy_reward
from tiny_training import fresh_policy, tiny_examples, tiny_settings

PAGE = Path(__file__).resolve().parents[2] / "docs" / "training.md"
SHORT = {"optimizer": {"steps": 2}, "validation": {"interval": 1}}


def explained() -> list[str]:
    """The keys of the page's table; `...` stands for any rest."""
    part = PAGE.read_text(encoding="utf-8").split("### What the metrics say", 1)[1].split("\n#", 1)[0]
    cells = [line.split("|")[1] for line in part.splitlines() if line.startswith("| `")]
    return re.findall(r"`([^`]+)`", " ".join([*cells, part.split("|", 1)[0]]))


def is_explained(key: str, names: list[str]) -> bool:
    patterns = (re.escape(name).replace(re.escape("..."), ".+") for name in names)
    return any(re.fullmatch(pattern, key) for pattern in patterns)


def logged(folder: Path) -> set[str]:
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert lines
    return {key for line in lines for key in json.loads(line)}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    root = tmp_path_factory.mktemp("metrics")
    train_sft(fresh_policy(), tiny_examples(), tiny_examples(4), tiny_settings(steps=4), root / "sft")
    train_ppo(fresh_policy(), TASKS, TASKS, toy_reward, ppo_settings(**SHORT), root / "ppo")
    train_grpo(fresh_policy(), TASKS, TASKS, toy_reward, grpo_settings(**SHORT), root / "grpo")
    return {name: logged(root / name) for name in ("sft", "ppo", "grpo")}


@pytest.mark.parametrize("stage", ["sft", "ppo", "grpo"])
def test_every_logged_key_is_explained(keys: dict[str, set[str]], stage: str) -> None:
    names = explained()
    assert len(names) > 30
    assert [key for key in sorted(keys[stage]) if not is_explained(key, names)] == []


def test_the_guard_sees_a_key_that_is_not_there() -> None:
    assert not is_explained("something/new", explained())
    assert is_explained("kl/text", explained())
