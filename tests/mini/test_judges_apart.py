"""Judges and raters stay out of whatever is trained: nothing that makes a reward or a policy reaches them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dfprompt
from dfprompt.api.rewards import load_reward
from dfprompt.errors import DFPromptError

ROOT = Path(dfprompt.__file__).parent
_TRUTH = ("dfprompt.mini.judge", "dfprompt.mini.raters", "dfprompt.mini.measures")
# Everything a reward, a policy or a training is made of, and the names they are found by.
_TRAINED = [
    *(path for room in ("rewards", "policy", "training", "pipeline") for path in (ROOT / room).rglob("*.py")),
    *(ROOT / "api" / name for name in ("rewards.py", "training.py", "pipelines.py", "calibration.py")),
]


def imports(source: str) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def test_the_guard_sees_every_way_to_import() -> None:
    assert imports("def f():\n    from dfprompt.mini import judge") & set(_TRUTH)
    assert imports("import dfprompt.mini.raters as r") & set(_TRUTH)
    assert imports("from dfprompt.mini.judge import Judge") & set(_TRUTH)


@pytest.mark.parametrize("path", _TRAINED, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nothing_trained_imports_the_truth(path: Path) -> None:
    assert not imports(path.read_text(encoding="utf-8")) & set(_TRUTH)


def test_the_mini_reward_is_scored_without_them(miniature_world: Path) -> None:
    code = """
import sys, torch
from dfprompt.api.rewards import load_reward
reward = load_reward(sys.argv[1])
print(tuple(reward(torch.rand(2, 3, 64, 64), ["a red cat on a hill"] * 2).shape))
print([name for name in sys.modules if name.startswith("dfprompt.mini.")])
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(miniature_world / "weights")],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.stdout.splitlines() == ["(2,)", "[]"], done.stderr[-2000:]


def test_the_judges_folder_is_no_reward(miniature_world: Path) -> None:
    with pytest.raises(DFPromptError):
        load_reward(miniature_world / "weights" / "judge")
