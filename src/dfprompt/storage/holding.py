"""Folders held by one process at a time, and cleared of what a killed one left unfinished."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from dfprompt.errors import DFPromptError, InputError
from dfprompt.storage.whole import UNFINISHED, delete, drop_empty, make_folder, reported


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder as its only writer; it is made if need be, and goes again if nothing came to lie in it.

    The system ends the lock with the process, however that ends; nothing is left in the folder. What a
    killed process left unfinished there is cleared. Raises InputError where it cannot be made, or another
    process holds it.
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
    with reported(folder, InputError, "make room there, or choose another --output"):
        made = make_folder(folder)
        descriptor = None if os.name == "nt" else os.open(folder, os.O_RDONLY)
    try:
        if descriptor is not None:
            lock(descriptor, folder)
        for parent, folders, names in os.walk(folder):
            for name in filter(UNFINISHED.fullmatch, [*folders, *names]):
                delete(Path(parent, name))
            folders[:] = [name for name in folders if not UNFINISHED.fullmatch(name)]
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
    >>> from dfprompt.storage import write_text
    >>> with tidied(place):
    ...     write_text(place / "a.txt", "a cat")
    >>> [each.name for each in place.iterdir()]
    ['a.txt']
    """
    descriptor = None
    with suppress(OSError, InputError):
        descriptor = os.open(folder, os.O_RDONLY)  # refused on Windows, where folders have no locks
        lock(descriptor, folder)
        for each in folder.iterdir():
            if UNFINISHED.fullmatch(each.name):
                delete(each)
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def writing_into(folder: Path, kind: type[DFPromptError]) -> Iterator[None]:
    """Hold a folder `tidied` while a command writes files into it; what the system refuses is a `kind`.

    >>> with writing_into(Path("."), InputError):
    ...     pass
    """
    with reported(folder, kind), tidied(folder):
        yield


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


def check_free(paths: Sequence[Path], *, force: bool, name: str = "choose another --output") -> None:
    """Raise InputError for files that cannot be written: a file or a link is there and `force` is false, two
    have one name, a folder stands there, or no folder can be made for them. `name` is the advice.

    >>> check_free([Path("nowhere/a.txt")], force=False)
    """
    taken = [path for path in paths if _is_there(path)]
    if folders := [path for path in taken if path.is_dir()]:
        raise InputError(f"{folders[0]} is a folder; {name}")
    for parent in {path.parent for path in paths}:
        check_writable(parent)
    if taken and not force:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise InputError(f"{taken[0]}{more} exists already; {name} or add --force")
    if len(set(paths)) < len(paths):
        raise InputError("two files would have one name; give them different names")


def check_writable(folder: Path) -> None:
    """Raise InputError for a folder that is none, cannot be made, or may not be written into.

    >>> check_writable(Path("nowhere/deep"))
    """
    nearest = next((each for each in (folder, *folder.parents) if _is_there(each)), Path())
    if nearest == folder and not folder.is_dir():
        raise InputError(f"nothing can be written into {folder}, which is a file; name a folder")
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"nothing can be written into {nearest}; choose another --output")


def _is_there(path: Path) -> bool:
    """Whether there is a file, a folder or a link; InputError for a name too long or not to be looked up."""
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"no file can be written to {path}: {error.strerror}") from error
    return True


def lock(descriptor: int, path: Path) -> None:
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
