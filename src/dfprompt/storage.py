"""Files that survive: written whole or not at all, never through a link, by one process per folder.

A file or folder is written under a new name beside its place, put on the disk, and takes its place in one
step. A process killed at any moment leaves what stood there before, or what it wrote, whole; what it left
unfinished bears a name nobody else uses (`.dfprompt-0123456789abcdef.partial`) and is cleared by the next
command that locks the folder. Everything here raises OSError; `reported` turns it into one line for people.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from dfprompt.errors import DFPromptError, EvaluationError, InputError
from dfprompt.excerpt import quote

_UNFINISHED = re.compile(r"\.dfprompt-[0-9a-f]{16}\.partial")
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2(2)
_BLOCK = 2**16  # bytes read at once
_HERE = -100  # AT_FDCWD: paths count from the current folder
_ADVICE = "nothing half-written was left there; make room or choose another place, and run it again"


@contextmanager
def reported(path: Path, kind: type[DFPromptError], advice: str = _ADVICE) -> Iterator[None]:
    """Turn what the system refuses inside into a `kind` that names the path, the reason and what to do.

    >>> from dfprompt.errors import ConfigError
    >>> try:
    ...     with reported(Path("a.toml"), ConfigError, "check the folder"):
    ...         raise PermissionError(13, "Permission denied")
    ... except ConfigError as error:
    ...     print(error)
    cannot write a.toml: Permission denied; check the folder
    """
    try:
        yield
    except OSError as error:
        raise kind(f"cannot write {path}: {error.strerror or error}; {advice}") from error


@contextmanager
def whole_files(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Yield a new empty file for each path; on leaving they take the places of `paths`, all or none.

    The new files lie beside their places. Missing folders are made, and go again where nothing came of it.
    A link that stands in a place is replaced, not followed.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "deep" / "a.txt"
    >>> with whole_files(place) as (unfinished,):
    ...     _ = unfinished.write_text("a cat", encoding="utf-8")
    >>> place.read_text(encoding="utf-8"), len(list(place.parent.iterdir()))
    ('a cat', 1)
    """
    made: list[Path] = []
    unfinished: list[tuple[Path, int]] = []
    try:
        for path in paths:
            made += make_folder(path.parent)
            unfinished.append(_new_file(path))
        yield tuple(each for each, _ in unfinished)
        for each, mode in unfinished:
            _settle(each, mode)
        for (each, _), path in zip(unfinished, paths, strict=True):
            os.replace(each, path)
        for folder in {path.parent for path in paths}:
            _sync_folder(folder)
    except BaseException:
        for each, _ in unfinished:
            each.unlink(missing_ok=True)
        drop_empty(made)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "a.bin"
    >>> write_bytes(place, b"12")
    >>> place.read_bytes()
    b'12'
    """
    with whole_files(path) as (unfinished,):
        unfinished.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    r"""Write a text file in UTF-8, whole or not at all; what has no bytes (a lone surrogate) is escaped.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "a.txt"
    >>> write_text(place, "a \ud800 cat\n")
    >>> place.read_text(encoding="utf-8")
    'a \\ud800 cat\n'
    """
    write_bytes(path, text.encode("utf-8", errors="backslashreplace"))


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield a new empty folder; on leaving it takes the place of `path`, and what stood there is removed.

    Its files become as readable as the folder is: safetensors 0.8 writes every file for its owner alone,
    whatever the umask says. Raises NotADirectoryError where a file stands at `path`; a link to a folder is
    replaced, and the folder it led to is left alone.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "policy"
    >>> for text in ("old", "new"):
    ...     with whole_folder(place) as unfinished:
    ...         _ = (unfinished / text).write_text(text, encoding="utf-8")
    >>> [each.name for each in place.iterdir()], len(list(place.parent.iterdir()))
    (['new'], 1)
    """
    if os.path.lexists(path) and not path.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "a file stands where a folder should be", str(path))
    made = make_folder(path.parent)
    unfinished = _new_name(path)
    unfinished.mkdir()
    try:
        yield unfinished
        readable = stat.S_IMODE(unfinished.stat().st_mode) & 0o666
        for parent, _, names in os.walk(unfinished):
            for name in names:
                _settle(Path(parent, name), readable)
            _sync_folder(Path(parent))
        _take_place(unfinished, path)
        _sync_folder(path.parent)
    finally:
        _delete(unfinished)  # half-written, or what stood there before
        drop_empty(made)


def save_tensors(tensors: dict[str, Any], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a safetensors file, whole or not at all; raises OSError where the library could not."""
    from safetensors.torch import save_file

    with whole_files(path) as (unfinished,), library_errors():
        save_file(tensors, unfinished, metadata)


@contextmanager
def library_errors() -> Iterator[None]:
    """Turn what safetensors raises where it cannot write into an OSError.

    >>> with library_errors():
    ...     pass
    """
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise OSError(str(error)) from error


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all in it; nothing of a folder is ever half there.

    >>> remove(Path("nowhere"))
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    aside = _new_name(path)
    os.rename(path, aside)
    _sync_folder(path.parent)
    _delete(aside)


def make_folder(folder: Path) -> list[Path]:
    """Make a folder with its parents; returns those that are new, outermost first.

    >>> make_folder(Path("."))
    []
    """
    new = [each for each in (folder, *folder.parents) if not os.path.lexists(each)][::-1]
    folder.mkdir(parents=True, exist_ok=True)
    return new


def drop_empty(folders: Sequence[Path]) -> None:
    """Remove folders, outermost first as `make_folder` gives them, where nothing came to lie in them.

    >>> drop_empty([])
    """
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder as its only writer; it is made if need be, and goes again if nothing came to lie in it.

    The system ends the lock with the process, however that ends; nothing is left in the folder. What a
    killed process left unfinished there is cleared. Raises InputError where another process holds it.
    On Windows, and on file systems without locks, nothing is held.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp())
    >>> with lock_folder(place):
    ...     try:
    ...         with lock_folder(place):
    ...             pass
    ...     except InputError as error:
    ...         print(str(error).removeprefix(f"{place}: "))
    another dfprompt is writing there; wait for it, or choose another --output
    """
    made = make_folder(folder)
    descriptor = None if os.name == "nt" else os.open(folder, os.O_RDONLY)
    try:
        if descriptor is not None:
            _lock(descriptor, folder)
        for parent, folders, names in os.walk(folder):
            for name in filter(_UNFINISHED.fullmatch, [*folders, *names]):
                _delete(Path(parent, name))
            folders[:] = [name for name in folders if not _UNFINISHED.fullmatch(name)]
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
        drop_empty(made)


@contextmanager
def tidied(folder: Path) -> Iterator[None]:
    """Clear what killed commands left of single files in a folder; hold it while another is written there.

    For commands that write one file into a folder of the user's: they own nothing else in it. Where somebody
    else holds the folder, or there is none yet, nothing is cleared and nothing held.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp())
    >>> (place / ".dfprompt-0123456789abcdef.partial").touch()
    >>> with tidied(place):
    ...     write_text(place / "a.txt", "a cat")
    >>> [each.name for each in place.iterdir()]
    ['a.txt']
    """
    descriptor = None
    with suppress(OSError, InputError):
        descriptor = os.open(folder, os.O_RDONLY)  # refused on Windows, where folders have no locks
        _lock(descriptor, folder)
        for each in folder.iterdir():
            if _UNFINISHED.fullmatch(each.name):
                _delete(each)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def check_ours(folder: Path, names: Iterable[str], manifest: str, *, force: bool | None = None) -> None:
    """Refuse a folder that holds files of a command's own `names` but not the `manifest` it leaves.

    Raises InputError, unless `force`: what lies there is somebody's, and would be written over. None is
    for commands that write over nothing whatever they are told.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp())
    >>> (place / "train.jsonl").touch()
    >>> check_ours(place, ["train.jsonl"], "recipe.toml", force=True)
    >>> try:
    ...     check_ours(place, ["train.jsonl"], "recipe.toml", force=False)
    ... except InputError as error:
    ...     print(str(error).removeprefix(str(place)).partition(";")[0])
     holds train.jsonl but no recipe.toml, so dfprompt did not write it
    """
    if force or (folder / manifest).is_file():
        return
    found = [name for name in names if os.path.lexists(folder / name)]
    if found:
        shown = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        instead = "" if force is None else ", or add --force to write over it"
        raise InputError(
            f"{folder} holds {shown} but no {manifest}, so dfprompt did not write it; choose another "
            f"--output{instead}"
        )


def read_lines(path: Path) -> list[str]:
    """The lines of a file, none where there is no file; a last one that a kill cut short is no line.

    >>> read_lines(Path("nowhere"))
    []
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    whole = content[: content.rfind(b"\n") + 1]  # the end of a line is no part of it
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

    A last line that a kill cut short is cut off. Raises OSError, also for a link; InputError where another
    process is writing it, or where its end is not of a line of ours, a JSON object.

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
            _lock(self._descriptor, self.path)
            size = os.fstat(self._descriptor).st_size
            self._size = _end_of_lines(self._descriptor, size)
            if size > self._size:
                self._cut_half_line()
            if is_new:
                _sync_folder(self.path.parent)
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
        content = "".join(f"{line}\n" for line in lines).encode("utf-8", errors="backslashreplace")
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
    """Where the last whole line of a file ends, looked for from its end."""
    while size > 0:
        start = max(0, size - _BLOCK)
        os.lseek(descriptor, start, os.SEEK_SET)
        if (at := os.read(descriptor, size - start).rfind(b"\n")) >= 0:
            return start + at + 1
        size = start
    return 0


def _new_name(path: Path) -> Path:
    return path.with_name(f".dfprompt-{secrets.token_hex(8)}.partial")


def _new_file(path: Path) -> tuple[Path, int]:
    """A file that was not there before, and the permissions that files get here."""
    unfinished = _new_name(path)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
    try:
        return unfinished, stat.S_IMODE(os.fstat(descriptor).st_mode)
    finally:
        os.close(descriptor)


def _settle(path: Path, mode: int) -> None:
    """Put a finished file on the disk, with the permissions that files get here."""
    if path.is_symlink():
        return
    os.chmod(path, mode)
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk; some systems and file systems know no such thing."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_place(new: Path, path: Path) -> None:
    """Give a folder its name; what stood there is then called as the new one was."""
    if not os.path.lexists(path):
        os.rename(new, path)
    elif not _exchange(new, path):
        aside = _new_name(path)
        os.rename(path, aside)
        try:
            os.rename(new, path)
        except BaseException:
            os.rename(aside, path)
            raise
        os.rename(aside, new)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step, where the system and the file system can."""
    if sys.platform != "linux":
        return False
    try:
        rename = ctypes.CDLL(None).renameat2
    except (OSError, AttributeError):
        return False
    return bool(rename(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) == 0)


def _delete(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _lock(descriptor: int, path: Path) -> None:
    """Take a file or folder for this process; the system frees it when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # Windows: there nothing guards against a second process
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(
            f"{path}: another dfprompt is writing there; wait for it, or choose another --output"
        ) from error
    except OSError:
        return  # a file system without locks
