"""The last resort: a fault of the program's own is one message and a file to report, never a traceback."""

from __future__ import annotations

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from dfprompt.cli import main as command_line


def test_an_unforeseen_error_is_one_message_and_a_file(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def break_down() -> None:
        raise KeyError("a name\x1b[2J\nand a second line")

    monkeypatch.setattr(sys, "argv", ["dfprompt"])
    with pytest.raises(SystemExit) as stop:
        command_line.run(app)
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "\x1b" not in said
    assert len(said.strip().splitlines()) == 1
    told = re.search(r"kept in (\S+)", said)
    assert told is not None
    assert "Traceback" in Path(told[1]).read_text()
    assert Path(told[1]).stat().st_mode & 0o077 == 0  # prompts may stand in it


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        OSError("libcudart.so: failed to map segment from shared object"),
        ImportError("_backend_agg.so: failed to map segment from shared object"),
        RuntimeError("could not create a primitive"),
    ],
)
def test_memory_that_is_used_up_is_said_whoever_notices(
    error: Exception, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def grow() -> None:
        raise error

    monkeypatch.setattr(sys, "argv", ["dfprompt"])
    with pytest.raises(SystemExit) as stop:
        command_line.run(app)
    assert stop.value.code == 1
    assert capsys.readouterr().err.startswith("error: out of memory; nothing half-written was left.")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a full device")
@pytest.mark.parametrize("words", ["plan cat", "plan cat --json", "plan --help", "--version"])
def test_a_result_that_cannot_be_written_is_said(words: str) -> None:
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "dfprompt", *words.split()]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == "error: the result cannot be written to standard output: No space left on device\n"


def test_an_error_of_the_system_elsewhere_is_not_taken_for_one_of_standard_output(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    app = typer.Typer(pretty_exceptions_enable=False)

    @app.command()
    def read() -> None:
        os.read(-1, 1)  # no file name comes with a bad descriptor

    monkeypatch.setattr(sys, "argv", ["dfprompt"])
    with pytest.raises(SystemExit) as stop:
        command_line.run(app)
    assert stop.value.code == 1
    said = capsys.readouterr().err
    assert "standard output" not in said
    assert "Bad file descriptor" in said


def test_what_the_system_refuses_of_a_named_file_is_no_fault_of_the_program(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A link that leads to itself, a name too long: whoever looks it up, the name is the user's."""
    app = typer.Typer(pretty_exceptions_enable=False)
    (tmp_path / "a").symlink_to(tmp_path / "a")

    @app.command()
    def read() -> None:
        (tmp_path / "a").read_text()

    monkeypatch.setattr(sys, "argv", ["dfprompt"])
    with pytest.raises(SystemExit) as stop:
        command_line.run(app)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("error: cannot use ")
    assert "Too many levels of symbolic links" in said
    assert "fault" not in said
