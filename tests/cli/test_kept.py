"""A command that is stopped says what is kept, and where."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from dfprompt.cli.commands import COMMANDS
from dfprompt.cli.kept import describe_kept
from dfprompt.cli.main import app
from dfprompt.cli.options import takes
from dfprompt.cli.stopping import Stopped
from dfprompt.errors import ConfigError
from dfprompt.requests.base import Request
from dfprompt.requests.compare import TuneRequest
from dfprompt.requests.evaluate import AttributionRequest, EvaluateRequest
from dfprompt.requests.learn import RestrainRequest
from dfprompt.requests.render import GenerateRequest
from dfprompt.requests.taste import TasteRequest


def test_what_is_kept_is_counted(tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "pictures").mkdir(parents=True)
    (out / "pictures" / "a.png").write_bytes(b"")
    (out / "rows.jsonl").write_text("1\n2\n")
    said = describe_kept(TuneRequest(text="a cat", output=out), time.time())
    kept = f"kept whole in {out}: 1 pictures, 2 rows"
    assert said == f"{kept}; the same command with --resume goes on"
    drawn = GenerateRequest(texts=["a cat"], output=out)
    assert describe_kept(drawn, time.time()) == kept


def test_a_folder_that_was_named_by_the_date_is_named_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dfprompt-out" / "today").mkdir(parents=True)
    (tmp_path / "dfprompt-out" / "today" / "a.png").touch()
    said = describe_kept(TuneRequest(text="a cat"), time.time())
    assert said.endswith("with --resume --output dfprompt-out/today goes on")
    with pytest.raises(ConfigError, match="--resume needs --output"):
        TuneRequest(text="a cat", resume=True)


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
    assert able == {"train", "tune", "curate", "compare", "evaluate", "ablate"}


@pytest.mark.parametrize("kind", [AttributionRequest, EvaluateRequest, RestrainRequest, TasteRequest])
def test_what_goes_on_without_being_told_says_so(kind: type[Request], tmp_path: Path) -> None:
    """What is said of a folder, and what the help of --output says, is one thing."""
    (tmp_path / "rows.jsonl").write_text("1\n")
    asked = kind.model_construct(output=tmp_path)
    assert describe_kept(asked, time.time()).endswith("the same command goes on")
