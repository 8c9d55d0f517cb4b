"""`dfprompt mini`: bad input is one clear error, and a built folder can be checked and shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from dfprompt.api.world import build_mini, check_mini, show_mini
from dfprompt.cli.main import app
from dfprompt.errors import ConfigError, LoadError
from dfprompt.mini.build import Build
from dfprompt.mini.recipe import miniature


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    build = Build(tmp_path_factory.mktemp("mini"), miniature())
    build.run()
    return build.weights


def test_an_unknown_stage_is_named_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no stage 'unett'.*unet"):
        build_mini(tmp_path, stages=["unett"])


def test_a_build_that_stands_is_not_touched_without_resume(tmp_path: Path) -> None:
    Build(tmp_path, miniature())
    before = (tmp_path / "build.json").read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        build_mini(tmp_path)
    assert (tmp_path / "build.json").read_bytes() == before


@pytest.mark.slow
def test_check_measures_every_quality_of_a_built_world(weights: Path) -> None:
    rows = check_mini(weights, images=32)
    names = [row["name"] for row in rows]
    for kind in ("subject", "colour", "scene"):
        assert f"{kind} read from generated pictures" in names
    assert any("PSNR" in row["unit"] or row["unit"] == "dB" for row in rows)
    assert all(row["measured_on"] and isinstance(row["reached"], bool) for row in rows)
    # A world trained for four steps reaches nothing: a check that says otherwise measures nothing.
    assert not any(row["reached"] for row in rows if row["unit"] == "dB" or "generated" in row["name"])


@pytest.mark.slow
def test_show_draws_a_sheet_and_refuses_to_overwrite(weights: Path, tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    show_mini(target, weights=weights, seed=2)
    with Image.open(target) as sheet:
        assert sheet.width > 1500
        assert sheet.height > 1000
    before = target.read_bytes()
    done = CliRunner().invoke(app, ["mini", "show", "--output", str(target), "--weights", str(weights)])
    assert done.exit_code != 0
    assert "--force" in str(done.exception)
    assert target.read_bytes() == before


@pytest.mark.slow
def test_a_damaged_weight_file_is_named_with_the_command_that_rebuilds_it(
    weights: Path, tmp_path: Path
) -> None:
    import shutil

    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    damaged = copy / "judge" / "judge.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(LoadError, match=r"judge.*dfprompt mini build --stage judge"):
        check_mini(copy, images=32)


@pytest.mark.slow
def test_check_as_json_has_its_version_first(weights: Path) -> None:
    done = CliRunner().invoke(app, ["mini", "check", "--weights", str(weights), "--images", "32", "--json"])
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert list(answer) == ["dfprompt", "checks"]
    assert set(answer["checks"][0]) == {
        "name",
        "value",
        "target",
        "unit",
        "measured_on",
        "smaller_is_better",
        "reached",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("victim", "stage"),
    [("pipeline/unet/diffusion_pytorch_model.safetensors", "unet"), ("clip/model.safetensors", "clip")],
)
def test_missing_and_truncated_weights_name_their_stage(
    weights: Path, tmp_path: Path, victim: str, stage: str
) -> None:
    import shutil

    copy = tmp_path / "weights"
    shutil.copytree(weights, copy)
    (copy / victim).write_bytes((copy / victim).read_bytes()[:100])
    with pytest.raises(LoadError, match=f"dfprompt mini build --stage {stage}"):
        check_mini(copy, images=32)
    (copy / victim).unlink()
    with pytest.raises(LoadError, match=f"dfprompt mini build --stage {stage}"):
        check_mini(copy, images=32)
