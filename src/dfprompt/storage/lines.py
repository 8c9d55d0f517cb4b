"""Lines of JSON that survive a kill: on the disk when they are said to be, half-written ones cut off.

What is appended together is there together or not at all. So each line but the last of an `append` ends in a
tab, which JSON does not see: where such a line is a file's last, a kill came before the rest, and it goes.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dfprompt.errors import DFPromptError, EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.storage.holding import lock
from dfprompt.storage.reading import read_bytes
from dfprompt.storage.whole import make_folder, sync_folder, write_text

_MOST = 2_000_000_000  # bytes of a log that is read whole: a million rows have a fourth of that
_BLOCK = 2**16  # bytes of a file's end that are looked at first
_MORE = b"\t\n"  # how a line ends that was not appended alone and is not the last


def read_lines(path: Path) -> list[str]:
    """The lines of a file, none where there is no file; without the last ones where a kill cut them short.

    >>> read_lines(Path("nowhere"))
    []
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        content = read_bytes(path, _MOST)
    except FileNotFoundError:
        return []
    whole = content[: _end_of_whole(content)].replace(_MORE, b"\n")  # the end of a line is no part of it
    return whole.decode("utf-8", "replace").split("\n")[:-1]


def parse_object(text: str, where: str = "") -> dict[str, Any]:
    """Return the object of a line of JSON; `where` names it in the InputError of a line that holds none.

    >>> parse_object('{"prompt": "a cat"}')
    {'prompt': 'a cat'}
    """
    named = f"{where}: " if where else ""
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{named}not JSON: {quote(text)}") from error
    if not isinstance(row, dict):
        raise InputError(f"{named}expected a JSON object, got {quote(text)}")
    return row


@contextmanager
def undamaged(path: Path, advice: str) -> Iterator[None]:
    """Raise EvaluationError with the advice where what the block reads of a file is not what we wrote."""
    try:
        yield
    except (
        OSError,
        ValueError,
        ArithmeticError,
        LookupError,
        TypeError,
        AttributeError,
        DFPromptError,
        RecursionError,
    ) as error:
        raise EvaluationError(f"{path} is damaged ({error}); {advice}") from error


def append_lines(path: Path, lines: Iterable[str]) -> None:
    """Append lines to a file, which is made if need be, as `LineFile.append` does; raises as it does.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "rows.jsonl"
    >>> for line in ('{"a": 1}', '{"a": 2}'):
    ...     append_lines(place, [line])
    >>> read_lines(place)
    ['{"a": 1}', '{"a": 2}']
    """
    with LineFile(path) as file:
        file.append(lines)


class LineFile:
    """Lines appended to a file, on the disk before `append` returns; one process at a time.

    The last lines are cut off where a kill cut their `append` short. Raises OSError, also for a link;
    InputError where another process is writing it, or where its end is not of a line of ours, a JSON object.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "rows.jsonl"
    >>> place.write_bytes(b'{"a": 1}' + b"\\n" + b'{"a"')
    13
    >>> with LineFile(place) as file:
    ...     file.append(['{"a": 2}'])
    >>> read_lines(place)
    ['{"a": 1}', '{"a": 2}']
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        make_folder(path.parent)
        self._open()

    def _open(self) -> None:
        is_new = not os.path.lexists(self.path)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND
        flags |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor: int | None = os.open(self.path, flags, 0o666)
        try:
            lock(self._descriptor, self.path)
            size = os.fstat(self._descriptor).st_size
            if size > _MOST:
                raise OSError(errno.EFBIG, f"it has more than {_MOST:,} bytes", str(self.path))
            self._size = _end_of_lines(self._descriptor, size)
            if size > self._size:
                self._cut_half_line()
            if is_new:
                sync_folder(self.path.parent)
        except BaseException:
            self.close()
            raise

    def _cut_half_line(self) -> None:
        """Cut off what a kill left of a line; what cannot be of one of ours, a JSON object, is left alone."""
        assert self._descriptor is not None
        os.lseek(self._descriptor, self._size, os.SEEK_SET)
        if os.read(self._descriptor, 1) != b"{":
            raise InputError(f"{self.path} ends in text that dfprompt did not write; choose another --output")
        os.ftruncate(self._descriptor, self._size)

    def append(self, lines: Iterable[str]) -> None:
        """Write lines to the disk, all or none; raises OSError where it refuses."""
        assert self._descriptor is not None, "the file is closed"
        encoded = [line.encode("utf-8", errors="backslashreplace") for line in lines]
        content = _MORE.join(encoded) + b"\n" * bool(encoded)
        left = memoryview(content)
        try:
            while left:
                left = left[os.write(self._descriptor, left) :]
            os.fsync(self._descriptor)
        except BaseException:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(content)

    def rewrite(self, lines: Iterable[str]) -> None:
        """Put other lines in the place of all, whole or not at all."""
        write_text(self.path, "".join(f"{line}\n" for line in lines))
        self.close()
        self._open()

    def close(self) -> None:
        """Close the file and give it free."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> LineFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _end_of_lines(descriptor: int, size: int) -> int:
    """Where the last whole `append` of a file ends, looked for from its end."""
    for length in (_BLOCK, size):
        start = max(0, size - length)
        os.lseek(descriptor, start, os.SEEK_SET)
        end = _end_of_whole(os.read(descriptor, size - start))
        if end > 0:
            return start + end
    return 0


def _end_of_whole(content: bytes) -> int:
    """Where the last line ends that no line of the same `append` had to follow; 0 where there is none."""
    end = content.rfind(b"\n") + 1
    while end and content.endswith(_MORE, 0, end):
        end = content.rfind(b"\n", 0, end - 1) + 1
    return end
