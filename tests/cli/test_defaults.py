"""What is typed, then the environment, then dfprompt.toml, then the program's own default."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PLAN = ("plan", "a red house, [fog:late]", "--json")


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def steps(cli: Any, *more: str) -> int:
    ran = cli(*PLAN, *more)
    assert ran.returncode == 0, ran.stderr
    return int(json.loads(ran.stdout)["steps"])


def test_the_order_of_precedence(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = steps(cli)
    assert usual not in (3, 4, 5, 6)
    Path("dfprompt.toml").write_text("steps = 3\n")
    assert steps(cli) == 3
    Path("dfprompt.toml").write_text("steps = 3\n[plan]\nsteps = 4\n[compare]\nsteps = 9\n")
    assert steps(cli) == 4
    assert "defaults of dfprompt.toml: steps" in cli(*PLAN).stderr
    monkeypatch.setenv("DFPROMPT_STEPS", "5")
    assert steps(cli) == 5
    assert steps(cli, "--steps", "6") == 6


def test_tables_of_commands_within_commands_and_options_that_are_repeated(cli: Any) -> None:
    Path("dfprompt.toml").write_text('[train.sft]\nrecipe = "nowhere.toml"\noutput = "x"\n')
    ran = cli("train", "sft")
    assert ran.returncode == 2
    assert "nowhere.toml" in ran.stderr
    Path("dfprompt.toml").write_text('[optimize]\nban = ["golden hour", "mist"]\n')
    ran = cli("optimize", "golden hour", "--policy", "starter")
    assert ran.returncode == 0, ran.stderr
    assert "banned, but in the prompt itself" in ran.stderr


def test_a_key_of_other_commands_disturbs_none(cli: Any) -> None:
    Path("dfprompt.toml").write_text("images = 3\n")
    assert steps(cli)  # plan has no such option
    assert "at least 16 images" in cli("tune", "a red house").stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[plan]\nstep = 3\n", "`dfprompt plan` has no option \"step\"; did you mean 'steps'"),
        ("step = 3\n", "no command and no option is \"step\"; did you mean 'steps'"),
        ("[plam]\nsteps = 3\n", "no command and no option is \"plam\"; did you mean 'plan'"),
        ('steps = "many"\n', "defaults of dfprompt.toml: steps"),
        ("steps = [1, 2]\n", "takes one value"),
        ("steps = \n", "cannot read dfprompt.toml"),
        ("allow-code = true\n", "is for the command line"),
        ("[plan]\njson = true\n", "is for the command line"),
    ],
)
def test_a_file_that_is_wrong_is_one_error(cli: Any, text: str, said: str) -> None:
    Path("dfprompt.toml").write_text(text)
    ran = cli(*PLAN)
    assert ran.returncode == 2, ran.stderr
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("key", ["allow-code", "llm", "force", "yes", "ray"])
def test_a_file_runs_nothing_overwrites_nothing_and_agrees_to_nothing(cli: Any, key: str) -> None:
    Path("dfprompt.toml").write_text(f'{key} = "true"\n')
    assert "is for the command line" in cli("compare", "a red house").stderr


def test_a_file_sends_nothing_to_a_server(cli: Any) -> None:
    Path("dfprompt.toml").write_text('judge = ["http://203.0.113.1/"]\n')
    ran = cli("compare", "a red house")
    assert ran.returncode == 2
    assert "addresses are for the command line" in ran.stderr


@pytest.mark.parametrize(
    ("words", "expected"),
    [("dfprompt comp", "compare"), ("dfprompt train g", "grpo"), ("dfprompt plan --st", "--steps")],
)
@pytest.mark.few(1)
def test_the_shell_completes_commands_and_options(words: str, expected: str) -> None:
    asked = {
        "_DFPROMPT_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = "import sys; sys.argv = ['dfprompt']; from dfprompt.cli.main import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, **asked},
        check=False,
    )
    assert expected in ran.stdout.split(), ran.stderr
