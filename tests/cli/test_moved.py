"""Command words that left the package answer with one line that names what took their place."""

from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from dfprompt.cli.main import app
from dfprompt.errors import InputError


@pytest.mark.parametrize(
    ("given", "new"),
    [
        (["mini", "build", "--resume"], "python -m worlds.mini build"),
        (["mini", "check", "--help"], "python -m worlds.mini check"),
        (["mini", "headroom", "--output", "x"], "python -m worlds.mini headroom"),
        (["mini"], "python -m worlds.mini"),
        (["train", "arms", "--output", "x"], "python -m experiments.stage_two arms"),
        (["ablate", "reward", "--output", "x", "--dry-run"], "python -m experiments.stage_two reward"),
    ],
)
def test_the_new_command_is_named(given: list[str], new: str) -> None:
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, InputError)
    assert str(done.exception).endswith(f"run: {new}")
    assert "\n" not in str(done.exception)


def test_bad_input_ends_with_two_and_no_traceback(cli: Any) -> None:
    ran = cli("mini", "build", "--budget", "150")
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.count("\n") == 1


def test_the_help_does_not_offer_them() -> None:
    for group in ([], ["train"], ["ablate"]):
        shown = CliRunner().invoke(app, [*group, "--help"]).output
        first = {words[0] for line in shown.splitlines() if (words := line.split())}
        assert not {"mini", "arms", "reward"} & first
