"""A command that is stopped says what is kept, and where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dfprompt.cli import stopping
from dfprompt.cli.commands import COMMANDS
from dfprompt.cli.kept import describe_kept
from dfprompt.cli.main import app
from dfprompt.cli.options import takes
from dfprompt.cli.stopping import Stopped
from dfprompt.requests.compare import TuneRequest
from dfprompt.requests.render import GenerateRequest


def test_what_is_kept_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "a.png").write_bytes(b"")
    (out / "rows.jsonl").write_text("1\n2\n")
    said = describe_kept(TuneRequest(text="a cat", output=out), time.time())
    assert said == f"kept in {out}: 1 pictures, 2 rows"


def test_nothing_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert describe_kept(TuneRequest(text="a cat"), time.time()) == "nothing was written"
    (tmp_path / "dfprompt-out" / "today").mkdir(parents=True)
    assert "nothing is kept in" in describe_kept(TuneRequest(text="a cat"), time.time())


def test_a_command_says_it_when_it_is_stopped() -> None:
    @takes(GenerateRequest)
    def draw(request: GenerateRequest) -> None:
        raise Stopped(2)

    app = typer.Typer()
    app.command()(draw)
    with pytest.raises(Stopped):
        CliRunner().invoke(app, ["a cat", "--output", "nowhere-at-all"])


def options(command: Any) -> set[str]:
    inner = [each for part in getattr(command, "commands", {}).values() for each in options(part)]
    return {name for each in command.params for name in each.opts} | set(inner)


def test_every_command_that_can_go_on_says_how() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    able = {name for name in COMMANDS if "--resume" in options(commands[name])}
    assert able == {*stopping._RESUMED, *stopping._GOES_ON}
    for name in able:
        assert "goes on" in stopping.describe(Stopped(2), [name, "x"])
