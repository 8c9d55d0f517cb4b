"""Tastes by name: what a folder says before it is loaded, who is written for, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.api.checks import check_taste, known_tastes
from dfprompt.api.evaluation import _for_taste
from dfprompt.api.policies import load_policy, optimize_prompt
from dfprompt.errors import ConfigError, InputError
from dfprompt.policy import SamplingSettings, save_policy_folder
from tiny_policies import storable_policy


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    policy = storable_policy()
    policy.model.add_tastes(["painted", "graphic"])
    return save_policy_folder(policy, tmp_path / "run" / "policy")


def test_a_folder_says_its_tastes_before_it_is_loaded(folder: Path) -> None:
    assert known_tastes(folder) == known_tastes(folder.parent) == ["painted", "graphic"]
    assert known_tastes("mini") == known_tastes("starter:photo") == []
    assert known_tastes("somebody/policy") is None
    check_taste("painted:0.5,graphic", folder)
    with pytest.raises(ConfigError, match='no taste "oil"; it has painted, graphic'):
        check_taste("oil", folder)
    with pytest.raises(InputError, match="none writes here"):
        check_taste("painted", None)


def test_policies_with_tastes_write_for_them_and_others_as_ever(folder: Path) -> None:
    tasted: list[str] = []
    drawn = _for_taste(None, "painted:0.5", load_policy(folder), tasted)
    assert drawn == SamplingSettings(taste=(("painted", 0.5),))
    assert _for_taste(None, "painted", storable_policy(), tasted) is None
    assert len(tasted) == 1


def test_rules_have_no_taste() -> None:
    with pytest.raises(ConfigError, match="it has none"):
        optimize_prompt("a cat", "starter", sampling=SamplingSettings(taste=(("painted", 1.0),)))
