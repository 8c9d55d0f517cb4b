"""The command line: one app, one place where errors and warnings become text for people.

Commands are listed in `commands.py`, and imported when they are used: `dfprompt --help` stays under 0.3 s,
and what is wrong with a request is said before torch is loaded.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import traceback
import warnings
from typing import NoReturn

import typer

from dfprompt.cli import console, stopping
from dfprompt.cli.commands import CommandGroup
from dfprompt.errors import DFPromptError, DFPromptWarning, InputError
from dfprompt.excerpt import quote
from dfprompt.faults import keep_fault

# What is wrong with the name a user gave, and what else the system refuses of a file.
_NAMED = {errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.ENOTDIR, errno.EISDIR, errno.EFBIG}
_REFUSED = {*_NAMED, errno.EPERM, errno.EROFS, errno.ENOSPC}
_REFUSED |= {errno.EEXIST, errno.EDQUOT, errno.EIO, errno.EMFILE, errno.ENFILE}

_NO_ROOM = ("failed to map segment", "annot allocate memory")  # the loader of libraries

app = typer.Typer(
    name="dfprompt",
    cls=CommandGroup,
    help="Prompts whose words know when and how strongly to act.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # brackets in a help text are the language, not markup
)


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop.", is_eager=True),
) -> None:
    """Prompts whose words know when and how strongly to act."""
    if version:
        from dfprompt import __version__

        console.write(f"dfprompt {__version__}")
        raise typer.Exit


def _says_more_than_torchvision(record: logging.LogRecord) -> bool:
    return "requires torchvision" not in record.getMessage()


def main() -> None:
    """Run the command line."""
    # Looking through every installed package for pydantic's plugins is a tenth of what an error costs.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    run(app)


def run(commands: typer.Typer) -> None:
    """Run an app of commands; bad input exits with 2, a failure with 1, never with a traceback."""
    console.prepare_streams()
    console.prepare_logs()
    stopping.listen()
    warnings.showwarning = console.show_warning
    warnings.simplefilter("always", DFPromptWarning)
    # Pillow's processors are meant here, so a library's advice to install torchvision is noise.
    logging.getLogger("transformers.utils.import_utils").addFilter(_says_more_than_torchvision)
    try:
        try:
            commands()
        finally:
            sys.stdout.flush()
    except DFPromptError as error:
        console.show_error(error)
        sys.exit(error.exit_code)
    except OSError as error:
        if _ran_out_of_memory(error):
            _stop_without_memory()
        if not _is_of_a_stream(error):
            _stop_at_file(error)
        # A result that nobody can be given, such as on a full device: nothing more can be written there.
        _close_stdout()
        if isinstance(error, BrokenPipeError):  # `dfprompt ... | head`: the reader has what it wanted
            sys.exit(DFPromptError.exit_code)
        console.note(f"error: the result cannot be written to standard output: {error.strerror or error}")
        sys.exit(DFPromptError.exit_code)
    except stopping.Stopped as stopped:
        console.note(stopping.describe(stopped))
        sys.exit(stopped.exit_code)
    except Exception as error:  # noqa: BLE001 - the last resort: a person is never shown a traceback
        if _ran_out_of_memory(error):
            _stop_without_memory()
        _stop_at(error)


def _ran_out_of_memory(error: Exception) -> bool:
    """Say whether memory, of the process or a device, is used up: a library cannot be loaded then either."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if isinstance(error, OSError | ImportError):
        return any(said in str(error) for said in _NO_ROOM)
    if "torch" not in sys.modules:
        return False
    from dfprompt.pipeline.memory import ran_out_of_memory

    return ran_out_of_memory(error)


def _is_of_a_stream(error: OSError) -> bool:
    """Say whether writing to the standard streams failed: then it was raised in what prints."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    raised_in = frame.f_globals.get("__name__", "")
    return error.filename is None and raised_in.startswith(("dfprompt.cli.", "typer.", "click.", "rich."))


def _stop_at_file(error: OSError) -> NoReturn:
    """Say what the system refuses of a file that it names; anything else of its is the program's fault."""
    if error.filename is None or error.errno not in _REFUSED:
        _stop_at(error)
    console.note(f"error: cannot use {quote(os.fsdecode(error.filename), 200)}: {error.strerror}")
    sys.exit(InputError.exit_code if error.errno in _NAMED else DFPromptError.exit_code)


def _stop_without_memory() -> NoReturn:
    console.note("error: out of memory; nothing half-written was left. Take smaller pictures or batches")
    sys.exit(DFPromptError.exit_code)


def _stop_at(error: Exception) -> NoReturn:
    """Say in one message that the program itself is at fault; the traceback goes into a file."""
    console.note(f"error: {keep_fault(error)}")
    sys.exit(DFPromptError.exit_code)


def _close_stdout() -> None:
    """Let the interpreter not try again, at its end, to write what could not be written."""
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.close()


if __name__ == "__main__":
    main()
