"""Missing weights are named together, with sizes, licences and commands, before anything is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from dfprompt.errors import LoadError
from dfprompt.published import AESTHETIC, CLIP_L, PICKSCORE, check_weights, missing_weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    return tmp_path


def test_one_message_names_everything_that_is_missing() -> None:
    with pytest.raises(LoadError) as caught:
        check_weights(["clip", "aesthetic", "clip", "my.toml"])
    said = str(caught.value)
    assert "'clip' and 'aesthetic'" in said
    for published in (CLIP_L, AESTHETIC):
        assert published.command in said
        assert f"{published.hub_id} ({published.size}, licence" in said
    assert said.count("hf download") == 2
    assert "--reward clip:FOLDER" in said


def test_what_is_there_is_not_missing(cache: Path) -> None:
    assert missing_weights(["paper"]) == [AESTHETIC, CLIP_L, PICKSCORE]
    assert missing_weights(["mini", "clip:folder", "hps@x"]) == []
    repo = cache / "models--trl-lib--ddpo-aesthetic-predictor"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0" * 40)
    (repo / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repo / "snapshots" / ("0" * 40) / "aesthetic-model.pth").write_bytes(b"x")
    assert missing_weights(["paper"]) == [CLIP_L, PICKSCORE]


@pytest.mark.parametrize(
    "command",
    [
        ["compare", "a cat", "--vary", "snow", "--reward", "clip"],
        ["tune", "a cat"],
        ["tune", "a cat", "--reward", "pickscore"],
    ],
)
@pytest.mark.few(1)
def test_weights_are_asked_for_before_a_pipeline_or_torch_is_loaded(
    command: list[str], tmp_path: Path
) -> None:
    (tmp_path / "pipe").mkdir()  # a folder without a pipeline would be refused as soon as it is read
    program = (
        "import sys\n"
        "from dfprompt.cli.main import main\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert stop.code == 2, stop.code\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules\n"
    )
    asked = [sys.executable, "-c", program, *command, "--pipeline", str(tmp_path / "pipe")]
    ran = subprocess.run(
        asked,
        capture_output=True,
        text=True,
        env={**os.environ, "HF_HOME": str(tmp_path)},
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "are not on this machine" in ran.stderr
    assert "hf download" in ran.stderr
