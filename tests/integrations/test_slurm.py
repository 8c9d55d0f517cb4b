"""The Slurm example as a shell script: two tasks, of which one is requeued, and the job that joins them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "integrations" / "slurm" / "evaluate-array.sh"
WHAT = (
    "--prompts prompts.txt --methods plain,suffix --suffix grain --validation-images 0 --steps 1 --seeds 40"
)


def _run(place: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    values = {"DFPROMPT": f"{sys.executable} -m dfprompt", "WHAT": WHAT, "FOLDER": "out", **more}
    return subprocess.run(
        ["bash", str(SCRIPT), *words], cwd=place, env={**os.environ, **values}, capture_output=True, text=True
    )


def test_without_a_word_it_says_which(tmp_path: Path) -> None:
    assert "part, or whole" in _run(tmp_path).stderr
    done = _run(tmp_path, "other")
    assert (done.returncode, done.stderr) == (2, "part or whole, not other\n")
    assert _run(tmp_path, "part", SLURM_ARRAY_TASK_ID="1").returncode != 0


@pytest.mark.nightly
def test_an_array_of_two_is_one_evaluation(tmp_path: Path) -> None:
    (tmp_path / "prompts.txt").write_text("a red cat\na blue boat\n")
    for task in ("1", "2", "2"):
        done = _run(tmp_path, "part", SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="2")
        assert done.returncode == 0, done.stderr
    for _ in range(2):
        done = _run(tmp_path, "whole", "2")
        assert done.returncode == 0, done.stderr
    lines = (tmp_path / "out" / "whole" / "rows.jsonl").read_text().splitlines()[1:]
    keys = {tuple(json.loads(line)[name] for name in ("method", "prompt_id", "seed")) for line in lines}
    assert len(keys) == len(lines) == 160
    assert (tmp_path / "out" / "whole" / "tables").is_dir()
