"""Files and folders written whole or not at all: under a new name first, then put in their place."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import secrets
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from dfprompt.errors import DFPromptError

UNFINISHED = re.compile(r"\.dfprompt-[0-9a-f]{16}\.partial")
_EXCHANGE = 2  # RENAME_EXCHANGE of Linux's renameat2(2)
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
def whole_files(*paths: Path, mode: int = 0o666) -> Iterator[tuple[Path, ...]]:
    """Yield a new empty file for each path; on leaving they take the places of `paths`, all or none.

    The new files lie beside their places, with the permissions `mode` as far as the umask lets them. Missing
    folders are made, and go again where nothing came of it. A link that stands in a place is replaced, not
    followed.

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
            unfinished.append(_new_file(path, mode))
        yield tuple(each for each, _ in unfinished)
        for each, mode in unfinished:
            _settle(each, mode)
        for (each, _), path in zip(unfinished, paths, strict=True):
            os.replace(each, path)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
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


def write_secret(path: Path, text: str) -> None:
    """Write a text file that at no moment anybody but the user can read, whole or not at all.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp()) / "token"
    >>> write_secret(place, "a cat")
    >>> f"{stat.S_IMODE(place.stat().st_mode) & 0o077:o}"
    '0'
    """
    with whole_files(path, mode=0o600) as (unfinished,):
        unfinished.write_bytes(text.encode("utf-8"))


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
            sync_folder(Path(parent))
        _take_place(unfinished, path)
        sync_folder(path.parent)
    finally:
        delete(unfinished)  # half-written, or what stood there before
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
    sync_folder(path.parent)
    delete(aside)


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


def _new_name(path: Path) -> Path:
    return path.with_name(f".dfprompt-{secrets.token_hex(8)}.partial")


def _new_file(path: Path, mode: int) -> tuple[Path, int]:
    """A file that was not there before, and the permissions that files of this mode get here."""
    unfinished = _new_name(path)
    descriptor = os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
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


def sync_folder(folder: Path) -> None:
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


def delete(path: Path) -> None:
    with suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
