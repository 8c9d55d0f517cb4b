"""The command line as a whole: help without heavy imports, the version, exit codes, closed pipes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dfprompt import __version__
from dfprompt.cli import console
from dfprompt.errors import ConversionError, GenerationError, ParseError

HEAVY = ("torch", "numpy", "diffusers", "transformers", "PIL", "pydantic", "matplotlib", "rich.console")


def test_version(cli) -> None:
    assert cli("--version").stdout == f"dfprompt {__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    check = (
        "import sys\nsys.argv = ['dfprompt', '--help']\n"
        "from dfprompt.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert stop.code == 0\n"
        f"print('heavy:', *[name for name in {HEAVY!r} if name in sys.modules])"
    )
    narrow = {**os.environ, "COLUMNS": "60"}
    ran = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, env=narrow
    )
    assert ran.stdout.splitlines()[-1] == "heavy:"
    for group in ("Write:", "Draw:", "Learn:", "Measure:"):
        assert f"\n{group}\n" in ran.stdout
    assert "..." not in ran.stdout.split("Write:")[1], "no description is cut"


GROUPS = [("train", "sft"), ("ablate", "attribution"), ("study", "simulate")]


@pytest.mark.parametrize(("group", "last"), GROUPS)
def test_no_description_of_a_group_is_cut(cli, group: str, last: str) -> None:
    shown = cli(group, "--help").stdout.split("Commands:")[1]
    assert "..." not in shown
    assert f"\n  {last} " in shown


def test_without_a_command_the_help_is_shown(cli) -> None:
    assert "Usage: " in cli().stdout + cli().stderr


def test_an_unknown_command_exits_with_2(cli) -> None:
    ran = cli("plann", "a cat")
    assert ran.returncode == 2
    assert "plann" in ran.stderr


@pytest.mark.parametrize("command", ["plan", "parse", "convert", "tune", "start"])
def test_a_prompt_without_its_quotes_is_told_of_them(cli, command: str) -> None:
    ran = cli(command, "a", "red", "house")
    assert ran.returncode == 2
    assert 'put quotes around one prompt: "a red house"' in ran.stderr
    assert "quotes" not in cli("inspect", "a.png", "b.png").stderr


def test_prompts_of_one_word_each_are_doubted(cli) -> None:
    said = 'note: 3 prompts of one word each; put quotes around one prompt: "a red house"'
    assert said in cli("optimize", "a", "red", "house", "--policy", "starter", "--json").stderr
    for prompts in (["house"], ["a red house", "boat"], ["a red house"]):
        assert "quotes" not in cli("optimize", *prompts, "--policy", "starter").stderr


def test_a_reader_that_stops_reading_is_no_traceback() -> None:
    command = [sys.executable, "-m", "dfprompt.cli.main", "parse", "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as ran:
        assert ran.stdin is not None
        assert ran.stdout is not None
        assert ran.stderr is not None
        ran.stdout.close()
        try:
            ran.stdin.write(b"a cat\n" * 5000)
            ran.stdin.close()
        except BrokenPipeError:
            pass
        assert b"Traceback" not in ran.stderr.read()


def test_errors_as_json_have_a_kind_and_a_message() -> None:
    assert console.error_json(GenerationError("no memory")) == {
        "kind": "GenerationError",
        "message": "no memory",
    }
    parse_error = ParseError("oops", text="[", offset=0, expected="]")
    assert console.error_json(parse_error)["offset"] == 0


def test_exit_codes_follow_the_tree() -> None:
    assert ConversionError.exit_code == 2
    assert GenerationError.exit_code == 1


@pytest.mark.parametrize("text", ["\x1b[2J", "\ud800", "\u202e"])
def test_nothing_a_terminal_obeys_reaches_stderr(capsys: pytest.CaptureFixture[str], text: str) -> None:
    console.show_error(GenerationError(f"bad {text} prompt"))
    assert capsys.readouterr().err.strip().isprintable()


@pytest.mark.parametrize("through_main", [pytest.param(True, marks=pytest.mark.slow), False])
@pytest.mark.few("True")
def test_a_librarys_advice_to_install_torchvision_is_not_shown(through_main: bool) -> None:
    """The advice itself is said here too: whether the library says it depends on what else is installed."""
    started = (
        "import sys\nsys.argv = ['dfprompt', '--version']\n"
        "from dfprompt.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
    )
    # The library's own advice comes with the import of a processor, which takes seconds: once is enough.
    own = "from transformers import CLIPImageProcessor\n" if through_main else ""
    check = (started if through_main else "") + (
        f"{own}from transformers.utils import import_utils\n"
        "import_utils.logger.warning('`X` requires torchvision (not installed)')\n"
        "import_utils.logger.warning('something else')\n"
    )
    spoken = {**os.environ, "TRANSFORMERS_VERBOSITY": "warning"}
    ran = subprocess.run(
        [sys.executable, "-c", check], env=spoken, capture_output=True, text=True, check=True
    )
    assert ("torchvision" in ran.stderr) is not through_main
    assert "something else" in ran.stderr
