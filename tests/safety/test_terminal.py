"""What a file name, a policy's name, a prompt or a path holds never reaches a terminal as it is."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from dfprompt.cli import console

EVIL = "a\x1b[2J\x07\x1b]8;;http://x\x1b\\\u202e\u2066b\x9b31m"


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    stream = Terminal()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("NO_COLOR", "1")
    return stream


def assert_printable(text: str) -> None:
    assert text.strip()
    assert all(line.isprintable() for line in text.split("\n")), repr(text)


def test_lines_results_notes_and_warnings_are_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    console.write(EVIL)
    console.write_result(EVIL)
    console.note(EVIL)
    console.show_warning(UserWarning(EVIL), UserWarning, "x.py", 1)
    assert_printable(terminal.getvalue())
    assert terminal.getvalue().count("\\x1b") >= 4


def test_cells_heads_and_titles_of_tables_are_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    from rich.table import Table

    table = Table(box=None, title=EVIL)
    table.add_column(EVIL)
    table.add_row(EVIL)
    console.rich_console().print(table, EVIL)
    assert_printable(terminal.getvalue())


def test_the_projects_own_tables_are_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = on_terminal(monkeypatch)
    from dfprompt.table import Table

    table = Table(EVIL, rows=[[EVIL]])
    console.rich_console().print(table.rich())
    assert_printable(terminal.getvalue())


def test_a_program_gets_a_result_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    console.write_result("a\x1b cat")
    assert stream.getvalue() == "a\x1b cat\n"


def test_what_libraries_log_is_printable(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers lists the names of weights that are missing, in bold and as the file has them."""
    terminal = on_terminal(monkeypatch)
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())
    console.prepare_logs()
    library = logging.Logger("transformers.loading")
    library.addHandler(logging.StreamHandler(terminal))
    library.warning("\x1b[1mREPORT\x1b[0m of\n%s\t| MISSING", EVIL)
    assert_printable(terminal.getvalue())
    assert "REPORT of\n" in terminal.getvalue()
    assert "    | MISSING" in terminal.getvalue()
