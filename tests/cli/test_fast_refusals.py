"""Bad input is refused with one message and exit code 2, before a model library is imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "numpy", "diffusers", "transformers", "PIL", "huggingface_hub", "matplotlib", "ssl")
RUN = f"""
import sys
sys.argv = ["dfprompt", *sys.argv[1:]]
from dfprompt.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code
print("heavy:", *[name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""
REFUSED = [
    (["train", "sft", "--resume"], "--output"),
    (["compare"], "nothing to compare"),
    (["compare", "x", "--pipeline", "models/none"], "models/none"),
    (["tune", "x", "--images", "3"], "at least 16 images"),
    (["evaluate", "--prompts", "nofile.txt", "--output", "e"], "nofile.txt"),
    (["evaluate", "--prompts", "p.txt", "--output", "e", "--resume"], "no rows.jsonl to go on with"),
    (["generate", "x", "--output", "file/deep"], "nothing can be written into"),
    (["optimize", ""], "empty prompt"),
    (["optimize", "x", "--device", "abacus"], "no device"),
    (["optimize", "x", "--taste", "painted:9"], "the strength from 0 to 2"),
    (["optimize", "x", "--taste", "painted"], 'has learnt no taste "painted"; it has none'),
    (["optimize", "x", "--policy", "starter", "--taste", "painted"], "it has none"),
    (["optimize", "x", "--restraint", "2"], "--restraint must be at most 1, got 2.0"),
    (["optimize", "x", "--temperature", "-1"], "--temperature must be at least 0, got -1.0"),
    (["optimize", "x", "--control-temperature", "inf"], "--control-temperature: input should be a finite"),
    (["optimize", "x", "--max-modifiers", "0"], "--max-modifiers must be at least 1, got 0"),
    (["evaluate", "--prompts", "mini", "--methods", "plain,polcy", "--output", "e"], 'mean "policy"'),
    (["evaluate", "--prompts", "mini", "--methods", "stripped:polcy@0.3", "--output", "e"], 'mean "policy"'),
    (["evaluate", "--prompts", "mini", "--methods", "a=none.jsonl", "--output", "e"], "no file of rewrites"),
    (["compare", "x", "--reward", "clpi"], 'mean "clip"'),
    (["compare", "x", "--taste", "painted", "--pipeline", "mini"], "the policy mini has learnt no taste"),
    (["evaluate", "--prompts", "p.txt", "--output", "e", "--taste", "painted,painted"], "named twice"),
    (["evaluate", "--prompts", "p.txt", "--rewards", "clip", "--output", "e"], "--rewards is --reward now"),
    (
        ["ablate", "range", "--prompts", "p.txt", "--judges", "clip", "--output", "e"],
        "--judges is --judge now",
    ),
    (["compare", "--with", "a red house, film grain"], "beside itself"),
    (["score", "none.png", "--prompt", "x", "--reward", "clip"], "none.png: no such file"),
    (["score", "a.png", "--prompt", "x", "--reward", "mine.py:f"], "no file mine.py"),
]


def ask(arguments: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "p.txt").write_text("a cat\n")
    for name in ("file", "a.png"):
        (folder / name).write_text("")
    command = [sys.executable, "-c", RUN, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("arguments", "said"), REFUSED, ids=[" ".join(each) for each, _ in REFUSED])
@pytest.mark.few(5)
def test_bad_input_needs_no_model_library(arguments: list[str], said: str, tmp_path: Path) -> None:
    ran = ask(arguments, tmp_path)
    *lines, heavy = ran.stderr.splitlines()
    assert ran.returncode == 2, ran.stderr
    assert ran.stdout == ""
    assert len(lines) == 1
    assert said in lines[0]
    assert heavy == "heavy:"


def test_rules_need_no_torch(tmp_path: Path) -> None:
    ran = ask(["optimize", "a red house", "--policy", "starter"], tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("a red house, ")
    assert ran.stderr.splitlines()[-1] == "heavy:"
