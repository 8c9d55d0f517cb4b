"""A cluster's address is typed: whoever answers at one can run code here, and files come from anywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dfprompt.config import load_config, save_resolved
from dfprompt.data.settings import CurateSettings
from dfprompt.errors import ConfigError
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings

ADDRESS = "203.0.113.1:6379"
every = pytest.mark.parametrize("kind", [CurateSettings, GrpoSettings, PpoSettings])


@every
@pytest.mark.parametrize("said", [f'"{ADDRESS}"', '"ray://203.0.113.1"', '"head"', "5", '["auto"]'])
def test_a_recipe_names_no_cluster(kind: Any, said: str, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f"[scale]\nworkers = 2\nray = {said}\n")
    with pytest.raises(ConfigError, match=r"scale\.ray: a file names no cluster.* give the address as --ray"):
        load_config(kind, recipe)


@every
@pytest.mark.parametrize("said", ["auto", "local"])
def test_it_may_name_the_one_that_is_here(kind: Any, said: str, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(f'[scale]\nray = "{said}"\n')
    assert load_config(kind, recipe).scale.chosen["ray"] == said


@every
def test_what_is_typed_counts_and_is_kept_nowhere(kind: Any, tmp_path: Path) -> None:
    settings = load_config(kind, None, [f"scale.ray={ADDRESS}", "scale.workers=3"])
    assert settings.scale.chosen["ray"] == ADDRESS
    saved = tmp_path / "recipe.toml"
    save_resolved(settings, saved, seeds=[0])
    assert "203.0.113" not in saved.read_text()
    again = load_config(kind, saved)
    assert (again.scale.ray, again.scale.workers) == (None, 3)
