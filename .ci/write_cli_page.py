"""Write docs/cli.md: every command with its help, exactly as the command line prints it."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path

import typer

PAGE = Path(__file__).resolve().parent.parent / "docs" / "cli.md"

HEAD = """# Command line

Every command as its `--help` prints it. All of them keep the same rules:

- stdout carries only the result; warnings, progress and errors go to stderr.
- `--json` prints one object with `"dfprompt": 1`. `-` in place of the text reads one prompt per line and
  answers each with one line of JSON, errors included: `{"dfprompt": 1, "error": {"kind": "ParseError",
  "message": "..."}}`, for a mistake in a prompt with `offset`, `length`, `expected` and `suggestion`.
- Exit code 0 is success, 2 bad input, 1 a failure while working.
- Consoles that cannot print Unicode get ASCII. Nothing is overwritten without `--force`.
- Double quotes around prompts work in every shell, Windows included.
"""


def command_paths() -> list[tuple[str, ...]]:
    """Return every command, groups before their members, in the order of the help."""
    from dfprompt.cli.main import app

    found: list[tuple[str, ...]] = [()]

    def walk(group: object, path: tuple[str, ...]) -> None:
        for name, command in getattr(group, "commands", {}).items():
            if not command.hidden:
                found.append((*path, name))
                walk(command, (*path, name))

    walk(typer.main.get_command(app), ())
    return found


def help_of(path: tuple[str, ...]) -> str:
    """Return one command's help at 100 columns, lines without trailing spaces."""
    from dfprompt.cli.main import app

    shown = io.StringIO()
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100"
    try:
        with contextlib.redirect_stdout(shown):
            typer.main.get_command(app).main([*path, "--help"], prog_name="dfprompt", standalone_mode=False)
    finally:
        os.environ.pop("COLUMNS")
        if before is not None:
            os.environ["COLUMNS"] = before
    return "\n".join(line.rstrip() for line in shown.getvalue().splitlines()).strip()


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for path in command_paths():
        parts.append(f"## {' '.join(('dfprompt', *path))}\n\n```text\n{help_of(path)}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
