"""Errors nobody meant to raise: told in one line, with the details in a file for whoever mends them."""

from __future__ import annotations

import platform
import tempfile
import traceback


def keep_fault(error: BaseException) -> str:
    """Write the details of an error into a new file, and return the line for people that names it.

    >>> keep_fault(KeyError("x")).split("(")[1].split(")")[0]
    "KeyError: 'x'"
    """
    from dfprompt import __version__

    lines = str(error).strip().splitlines()
    what = f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
    told = f"dfprompt {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
    told += "".join(traceback.format_exception(error))
    said = (
        f"this is a fault of dfprompt's own, not of your input ({what}); please report it with what you did"
    )
    try:
        handle, name = tempfile.mkstemp(prefix="dfprompt-fault-", suffix=".txt")
        with open(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(told)
    except OSError:
        return f"{said} and the details:\n{told}"
    return f"{said} and the details, kept in {name}"
