"""`python -m worlds.mini`: bad input is one clear error, and a built folder can be checked and shown."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from dfprompt.api.rewards import load_reward
from dfprompt.errors import ConfigError, LoadError
from dfprompt.mini.captions import canonical
from worlds.mini import jobs
from worlds.mini.build import Build, digest
from worlds.mini.cli import app
from worlds.mini.headroom import asked_scenes, draw_grid
from worlds.mini.headroom_report import measure_mini_headroom, reward_values
from worlds.mini.jobs import build_mini, check_mini, install_mini, read_headroom, show_mini, write_mini_card
from worlds.mini.recipe import miniature


@pytest.fixture(scope="module")
def weights(miniature_world: Path) -> Path:
    return miniature_world / "weights"


@pytest.fixture(scope="module")
def answer(weights: Path) -> dict[str, Any]:
    """What `mini check --json` prints; measured once, it takes a while."""
    done = CliRunner().invoke(app, ["check", "--weights", str(weights), "--images", "32", "--json"])
    assert done.exit_code == 0, done.output
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def test_an_unknown_stage_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stage 'unett'.*unet"):
        build_mini(tmp_path, stages=["unett"])


def test_a_build_that_stands_is_not_touched_without_resume(tmp_path: Path) -> None:
    Build(tmp_path, miniature())
    before = (tmp_path / "build.json").read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        build_mini(tmp_path)
    assert (tmp_path / "build.json").read_bytes() == before


def test_check_measures_every_quality_of_a_built_world(answer: dict[str, Any]) -> None:
    rows = answer["checks"]
    names = [row["name"] for row in rows]
    for kind in ("subject", "colour", "scene"):
        assert f"{kind} read from generated pictures" in names
    assert any("PSNR" in row["unit"] or row["unit"] == "dB" for row in rows)
    assert all(row["measured_on"] and isinstance(row["reached"], bool) for row in rows)
    # A world trained for four steps reaches nothing: a check that says otherwise measures nothing.
    assert not any(row["reached"] for row in rows if row["unit"] == "dB" or "generated" in row["name"])
    (placebo,) = (row for row in rows if row["name"].startswith("placebo"))
    assert placebo["value"] == 0.0
    assert all(row["interval"][0] <= row["value"] <= row["interval"][1] for row in rows if row["of"])


def test_show_draws_a_sheet_and_refuses_to_overwrite(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    show_mini(target, weights=weights, seed=2)
    with Image.open(target) as sheet:
        assert sheet.width > 1500
        assert sheet.height > 1000
    before = target.read_bytes()
    done = CliRunner().invoke(app, ["show", "--output", str(target), "--weights", str(weights)])
    assert done.exit_code != 0
    assert "--force" in str(done.exception)
    assert target.read_bytes() == before


def test_a_damaged_weight_file_is_named_with_the_command_that_rebuilds_it(
    weights: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    damaged = copy / "judge" / "judge.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(LoadError, match=r"judge.*python -m worlds.mini build --stage judge"):
        check_mini(copy, images=32)


def test_check_as_json_has_its_version_first(answer: dict[str, Any]) -> None:
    assert list(answer) == ["dfprompt", "checks"]
    assert set(answer["checks"][0]) == {
        "name",
        "value",
        "target",
        "unit",
        "measured_on",
        "smaller_is_better",
        "of",
        "at_most",
        "interval",
        "measured",
        "goal",
        "reached",
    }


@pytest.mark.parametrize(
    ("victim", "stage"),
    [("pipeline/unet/diffusion_pytorch_model.safetensors", "unet"), ("clip/model.safetensors", "clip")],
)
def test_missing_and_truncated_weights_name_their_stage(
    weights: Path, tmp_path: Path, victim: str, stage: str
) -> None:
    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    (copy / victim).write_bytes((copy / victim).read_bytes()[:100])
    with pytest.raises(LoadError, match=f"python -m worlds.mini build --stage {stage}"):
        check_mini(copy, images=32)
    (copy / victim).unlink()
    with pytest.raises(LoadError, match=f"python -m worlds.mini build --stage {stage}"):
        check_mini(copy, images=32)


def test_headroom_is_drawn_once_and_goes_into_the_card(
    weights: Path, answer: dict[str, Any], tmp_path: Path
) -> None:
    output = tmp_path / "headroom"
    arguments = {"weights": weights, "per_scene": 2, "modifiers": ["golden hour", "trending"]}
    first = measure_mini_headroom(output, **arguments)
    assert {"default", "single", "modifier", "scene"} == set(first["fidelity"])
    assert len(first["ranges"]) == len(first["weights"]) == 2 * 3  # golden hour and their mean, three arms
    grids = {path: path.stat().st_mtime_ns for path in (output / "grids").iterdir()}
    assert len(grids) == 2
    with Image.open(output / "ablations.png") as plot:
        assert plot.width > 1000
    again = measure_mini_headroom(output, **arguments, by="reward")
    assert {path: path.stat().st_mtime_ns for path in (output / "grids").iterdir()} == grids
    assert again["by"] == "reward"
    stored = np.load(output / "grids" / "trending.npz")["pictures"][3]
    prompt = canonical(*[(s.subject, s.colour, s.scene) for s in asked_scenes(2)][3])
    images = torch.from_numpy(stored).permute(0, 3, 1, 2).float() / 255
    drawn_by = f"{digest(weights / 'pipeline')} {digest(weights / 'judge')}"
    how: dict[str, Any] = {"per_scene": 2, "world": drawn_by}
    grid = draw_grid(None, None, "trending", output / "grids", **how)  # type: ignore[arg-type]
    torch.testing.assert_close(
        torch.from_numpy(reward_values(weights, grid)[3]).float(), load_reward(weights)(images, [prompt] * 16)
    )
    checks = answer["checks"]
    copy = tmp_path / "world"
    shutil.copytree(weights.parent, copy)
    headroom = read_headroom(output / "headroom-taste.json")
    card = write_mini_card(copy / "weights", checks, headroom=headroom, images=2).read_text()
    assert all(f"| {row['name']} |" in card for row in checks)
    for expected in ("| judges | `", "ball / snow", "| golden hour |", '"vae_channels"', "| unet | "):
        assert expected in card, expected
    assert (copy / "weights" / "samples.png").exists()


def test_headroom_of_another_world_or_of_other_prompts_is_not_read_as_this_one(
    weights: Path, tmp_path: Path
) -> None:
    measure_mini_headroom(tmp_path, weights=weights, per_scene=2, modifiers=["trending"])
    with pytest.raises(ConfigError, match=r"trending\.npz was drawn by another world or for other prompts"):
        measure_mini_headroom(tmp_path, weights=weights, per_scene=3, modifiers=["trending"])
    other = tmp_path / "other"
    shutil.copytree(weights, other)
    (other / "pipeline" / "note.txt").write_text("changed")
    with pytest.raises(ConfigError, match="another world"):
        measure_mini_headroom(tmp_path, weights=other, per_scene=2, modifiers=["trending"])


@pytest.mark.parametrize("text", [None, "no JSON", "[1]", '{"by": "taste"}'])
def test_what_is_no_headroom_is_said_before_anything_is_measured(tmp_path: Path, text: str | None) -> None:
    file = tmp_path / "headroom-taste.json"
    if text is not None:
        file.write_text(text)
    with pytest.raises(LoadError, match=r"headroom-taste\.json"):
        read_headroom(file)
    given = ["check", "--card", "--weights", str(tmp_path / "none"), "--headroom", str(file)]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, LoadError)
    assert "headroom-taste.json" in str(done.exception)


def test_weights_that_cannot_be_installed_are_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "package").write_text("a file where a folder should be")
    monkeypatch.setattr(jobs, "files", lambda name: tmp_path / "package")
    for piece in (*jobs.PIECES, "pipeline"):
        (tmp_path / "built" / piece).mkdir(parents=True, exist_ok=True)
    with pytest.raises(LoadError, match=r"cannot be written .*the built weights lie in .*built"):
        install_mini(tmp_path / "built")
    assert (tmp_path / "built" / "pipeline").is_dir()


def test_headroom_refuses_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="golden hour"):
        measure_mini_headroom(tmp_path, modifiers=["golden hours"])
    done = CliRunner().invoke(app, ["headroom", "--output", str(tmp_path), "--by", "luck"])
    assert done.exit_code != 0
    assert not any(tmp_path.iterdir())
