"""Files of users and strangers, read no further than a limit: a file may be sparse, endless, or a pipe."""

from __future__ import annotations

import errno
import json
import os
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from dfprompt.errors import DFPromptError, InputError

MOST_TEXT = 50_000_000  # bytes of a file that is read whole: large tokenizers have 20 MB
MOST_SETTINGS = 1_000_000  # of a recipe: the reader of TOML takes a minute for 50 MB
MOST_LINE = 10_000_000
_PIECE = 2**22
_SHOWN = 20  # lines that are wrong
Parsed = TypeVar("Parsed")


@contextmanager
def reading(path: Path, kind: type[DFPromptError], advice: str = "") -> Iterator[None]:
    """Turn what the system refuses of a file that the block reads into a `kind` of one line.

    >>> from dfprompt.errors import ConfigError
    >>> try:
    ...     with reading(Path("a.toml"), ConfigError, "check the folder"):
    ...         read_text(Path("a.toml"))
    ... except ConfigError as error:
    ...     print(error)
    cannot read a.toml: No such file or directory; check the folder
    """
    try:
        yield
    except (OSError, ValueError) as error:  # a ValueError: no UTF-8, or a null byte in the name
        reason = getattr(error, "strerror", None) or error
        raise kind(f"cannot read {path}: {reason}" + (f"; {advice}" if advice else "")) from error


def read_bytes(path: Path, most: int = MOST_TEXT) -> bytes:
    """Return what a file holds; raises OSError, too, for more than `most` bytes.

    A pipe is read until it is closed; one that nobody writes into is empty.

    >>> read_bytes(Path("/dev/null"))
    b''
    """
    with open(path, "rb", opener=_open_now) as file:
        if os.fstat(file.fileno()).st_size > most:  # known of a file, not of a device or a pipe
            raise _too_large(path, most)
        pieces, count = [], 0  # asked for all at once, memory for the limit would be taken
        while count <= most and (piece := file.read(_PIECE)):
            pieces.append(piece)
            count += len(piece)
    if count > most:
        raise _too_large(path, most)
    return b"".join(pieces)


def iter_bytes(path: Path) -> Iterator[bytes]:
    """Yield a file in pieces: weights have gigabytes; raises OSError.

    >>> list(iter_bytes(Path("/dev/null")))
    []
    """
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return a text in UTF-8 without its byte order mark, and raise as `read_bytes` does, or a ValueError."""
    text = read_bytes(path, most).decode("utf-8-sig")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_json(path: Path, most: int = MOST_TEXT) -> Any:
    """Return what a JSON file holds; raises OSError, ValueError, or RecursionError for what is too deep."""
    return json.loads(read_text(path, most))


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file; raises as `read_json` does."""
    return tomllib.loads(read_text(path, MOST_SETTINGS))


def iter_user_lines(
    path: Path,
    kind: type[DFPromptError] = InputError,
    *,
    most: int | None = MOST_TEXT,
    newline: str | None = None,
    advice: str = "",
) -> Iterator[str]:
    """Yield the lines of a text with their ends; what cannot be read, or has no end, is a `kind` of one line.

    `most` None is for data of any size, in lines that are not.

    >>> list(iter_user_lines(Path("/dev/null")))
    []
    """
    with reading(path, kind, advice):
        with open(path, encoding="utf-8-sig", newline=newline, opener=_open_now) as file:
            count = 0
            while line := file.readline(MOST_LINE + 1):
                count += len(line)
                for size, limit in ((len(line), MOST_LINE), (count, most)):
                    if limit is not None and size > limit:
                        raise _too_large(path, limit)
                yield line


def read_user_text(
    path: Path, kind: type[DFPromptError] = InputError, *, most: int = MOST_TEXT, advice: str = ""
) -> str:
    """Return a text as `read_text` does; what cannot be read is a `kind` of one line."""
    with reading(path, kind, advice):
        return read_text(path, most)


def parse_lines(
    path: Path, parse: Callable[[str], Parsed], *, none: str = "", most: int | None = MOST_TEXT
) -> list[Parsed]:
    """Return what `parse` makes of each line that is not empty.

    Raises InputError for a file that cannot be read, naming the lines that are wrong, and, saying `none`
    unless it is empty, where there is no line.
    """
    found, problems = [], []
    for number, line in enumerate(iter_user_lines(path, most=most), 1):
        try:
            if line.strip():
                found.append(parse(line.rstrip("\n")))
        except DFPromptError as error:
            problems.append(f"{path}, line {number}: {error}")
    if problems:
        more = f"\nand {len(problems) - _SHOWN} lines more" if len(problems) > _SHOWN else ""
        raise InputError("\n".join(problems[:_SHOWN]) + more)
    if none and not found:
        raise InputError(f"{path}: {none}")
    return found


def _open_now(path: str, flags: int) -> int:
    """Open a file without waiting for somebody to write into a pipe."""
    waits_not = getattr(os, "O_NONBLOCK", 0)
    descriptor = os.open(path, flags | waits_not)
    if waits_not:
        os.set_blocking(descriptor, True)
    return descriptor


def _too_large(path: Path, most: int) -> OSError:
    return OSError(errno.EFBIG, f"it is longer than {most:,} characters, or a line of it is", str(path))
