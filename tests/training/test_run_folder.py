"""The folder of a run: begun once, resumed under the same recipe, overwritten only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.config import load_config
from dfprompt.errors import ConfigError
from dfprompt.training.run_folder import open_run
from dfprompt.training.sft_settings import SftSettings
from tiny_training import tiny_settings


def test_a_run_is_begun_once(tmp_path: Path) -> None:
    open_run(tmp_path, tiny_settings(), seed=5)
    assert load_config(SftSettings, tmp_path / "recipe.toml") == tiny_settings()
    with pytest.raises(ConfigError, match="holds a training run"):
        open_run(tmp_path, tiny_settings(), seed=5)
    open_run(tmp_path, tiny_settings(), seed=5, resume=True)


def test_another_recipe_is_named_setting_by_setting(tmp_path: Path) -> None:
    open_run(tmp_path, tiny_settings(), seed=5)
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate: 0\.003 before, 0\.1 now"):
        open_run(tmp_path, tiny_settings(learning_rate=0.1), seed=5, resume=True)


def test_force_begins_anew_and_leaves_other_files(tmp_path: Path) -> None:
    open_run(tmp_path, tiny_settings(), seed=5)
    (tmp_path / "checkpoints" / "step-00000003").mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("mine")
    open_run(tmp_path, tiny_settings(learning_rate=0.1), seed=5, force=True)
    assert not (tmp_path / "checkpoints").exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert load_config(SftSettings, tmp_path / "recipe.toml") == tiny_settings(learning_rate=0.1)
