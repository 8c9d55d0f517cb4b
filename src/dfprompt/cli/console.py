"""What reaches the terminal: results on stdout, everything else on stderr, ASCII where needed."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

from dfprompt import storage
from dfprompt.errors import DFPromptError, DFPromptWarning, InputError, ParseError
from dfprompt.excerpt import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_JSON_VERSION = 1
_WIDTH_WITHOUT_TERMINAL = 100
_MOST_COUNTED = 1_000  # different warnings of one stream of lines
_RECORD = logging.getLogRecordFactory()
_STYLES = re.compile(r"\x1b\[[0-9;]*m")  # what libraries make bold


def prepare_streams() -> None:
    """Let every character through: what the console cannot print is written as an escape."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def prepare_logs() -> None:
    """Let nothing that libraries log be obeyed by a terminal: names out of files stand in it."""
    logging.setLogRecordFactory(_printable_record)


def _printable_record(*arguments: Any, **options: Any) -> logging.LogRecord:
    record = _RECORD(*arguments, **options)
    with contextlib.suppress(TypeError, ValueError):  # arguments that do not fit: its handler says so
        told = _STYLES.sub("", record.getMessage()).replace("\t", "    ")
        record.msg, record.args = _printable_lines(told, sys.stderr), ()
    return record


def prints_unicode(stream: TextIO) -> bool:
    """Say whether a stream can show blocks, arrows and lines; otherwise use ASCII."""
    try:
        "─█·→×".encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def rich_console() -> Console:
    """Return a rich console for results: no markup, no guessing, ASCII boxes where needed.

    Every string it is given, in the cells of tables too, is shown without what a terminal would obey.
    """
    from rich.console import Console

    class PrintableConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            return super().render_str(_printable_lines(text, sys.stdout), **options)

    measured = sys.stdout.isatty() or "COLUMNS" in os.environ
    width = None if measured else _WIDTH_WITHOUT_TERMINAL
    return PrintableConsole(
        file=sys.stdout, width=width, markup=False, highlight=False, emoji=False, soft_wrap=False
    )


def write(text: str) -> None:
    """Write lines for people to stdout: what a terminal would obey is shown escaped."""
    sys.stdout.write(_printable_lines(text, sys.stdout) + "\n")
    sys.stdout.flush()  # an address that was sent into a file is wanted while the server runs


def write_result(text: str) -> None:
    """Write a result that programs read (a prompt, a path) to stdout: as it is, unless people read it."""
    if sys.stdout.isatty():
        write(text)
    else:
        sys.stdout.write(text + "\n")


def write_json(result: Mapping[str, Any]) -> None:
    """Write one result to stdout as one line of JSON, ASCII only; `"dfprompt": 1` comes first."""
    sys.stdout.write(json.dumps({"dfprompt": _JSON_VERSION, **result}) + "\n")
    sys.stdout.flush()


def write_file(path: Path, text: str, *, force: bool) -> None:
    """Write a text file whole or not at all; refuses to overwrite without `force`."""
    with storage.reported(path, InputError, "check the folder"):
        storage.check_free([path], force=force, name="choose another name")
        with storage.tidied(path.parent):
            storage.write_text(path, text)


def note(text: str) -> None:
    """Write a remark to stderr."""
    sys.stderr.write(_printable_lines(text, sys.stderr) + "\n")


def _printable_lines(text: str, stream: TextIO) -> str:
    ascii_only = not prints_unicode(stream)
    return "\n".join(printable(line, ascii_only=ascii_only) for line in text.split("\n"))


def show_error(error: DFPromptError, *, where: str = "") -> None:
    """Write one error to stderr; `where` names the line of the input it belongs to."""
    note(f"error: {where}{_message(error, ascii_only=not prints_unicode(sys.stderr))}")


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Write one warning to stderr: ours as a plain line, others as Python shows them."""
    if issubclass(category, DFPromptWarning):
        note(f"warning: {message}")
    else:
        shown = warnings.formatwarning(message, category, filename, lineno, line)
        (file or sys.stderr).write(_printable_lines(shown, sys.stderr))


def for_each_line(work: Callable[[str], Mapping[str, Any]]) -> None:
    """Answer every line of stdin with one line of JSON on stdout; exits with 2 if one was an error.

    `work` returns the result of one prompt. A DFPromptError becomes that line's
    `{"dfprompt": 1, "error": {...}}` and the remaining lines go on; a blank line is answered with
    `{"dfprompt": 1, "blank": true}`. What is warned of is said once, with its first line, and counted.
    """
    failed = False
    said: Counter[str] = Counter()
    for number, text in enumerate(stdin_lines(), start=1):
        with warnings.catch_warnings(record=True) as caught:
            try:
                answer = work(text) if text.strip() else {"blank": True}
            except DFPromptError as error:
                failed, answer = True, {"error": error_json(error)}
        write_json(answer)
        for message in dict.fromkeys(str(warning.message) for warning in caught):
            if message not in said:
                note(f"warning: line {number}: {message}")
            if message in said or len(said) < _MOST_COUNTED:
                said[message] += 1
    for message, lines in said.items():
        if lines > 1:
            note(f"warning: {_plural(lines - 1, 'more line')}: {message}")
    if failed:
        raise typer.Exit(InputError.exit_code)


def _plural(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")


def stdin_lines() -> Iterator[str]:
    """Yield the lines of stdin as text, however they are encoded; bad bytes become lone surrogates."""
    stream = getattr(sys.stdin, "buffer", None)
    if stream is None:  # a stream of text, as an embedding program may put in place
        yield from (line.removesuffix("\n") for line in sys.stdin)
        return
    for number, raw in enumerate(stream):
        line = raw.decode("utf-8", errors="surrogateescape").removesuffix("\n").removesuffix("\r")
        yield line.removeprefix("\ufeff") if number == 0 else line


def error_json(error: DFPromptError) -> dict[str, Any]:
    """Return an error as a JSON object: kind and message, and for a ParseError its place and fix."""
    details = error.to_json() if isinstance(error, ParseError) else {"message": str(error)}
    return {"kind": type(error).__name__, **details}


def _message(error: DFPromptError, *, ascii_only: bool) -> str:
    return error.report(ascii_only=ascii_only) if isinstance(error, ParseError) else str(error)
