"""Commands in forked children of this process, stopped at their n-th file operation: killed, or refused.

An audit hook counts what a child does to files below its folder: opening them for writing, renaming,
removing, making folders, and (by wrappers, for Python audits neither) writing by descriptor and syncing.
A child starts in milliseconds because everything is imported already.
"""

from __future__ import annotations

import importlib
import itertools
import json
import os
import pkgutil
import shutil
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from crash_commands import Command

OPERATIONS = frozenset(
    "os.rename os.remove os.mkdir os.rmdir os.truncate os.chmod os.link os.symlink shutil.rmtree".split()
)
# What differs between two runs of the same command on the same machine.
TIMES = frozenset(
    "seconds date provenance pictures_per_second rows_per_second rollout_seconds update_seconds images_now "
    "drawn_now saved spared evaluations".split()
)


SIGNALS = {"kill": signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative: the signal), operations counted, what it said."""

    code: int
    operations: int
    out: str
    err: str


def import_everything() -> None:
    """Import what the commands need, so that a child starts at once; say nothing of it."""
    import dfprompt.api
    import dfprompt.cli

    for room in (dfprompt.api, dfprompt.cli):
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("matplotlib.pyplot")  # most of what a plot or report takes
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from dfprompt.api.pipelines import load_pipeline

        load_pipeline("mini")  # diffusers and transformers import their classes when first asked


def run(
    arguments: Sequence[str],
    folder: Path,
    *,
    at: int = 0,
    by: str = "kill",
    limit: Callable[[], None] | None = None,
) -> Ended:
    """Run `dfprompt ARGUMENTS` in `folder`; the operation number `at` (from 1) is its last or fails.

    `by` is "kill", "SIGTERM", "SIGINT", "OSError" or "MemoryError"; `limit` is called in the child before
    the command.
    """
    folder.mkdir(parents=True, exist_ok=True)
    streams = [folder.with_name(f"{folder.name}.{name}") for name in ("out", "err", "count")]
    child = os.fork()
    if child == 0:
        _be_child(arguments, folder, streams, at, by, limit)
    _, status = os.waitpid(child, 0)
    out, err, count = (each.read_text(errors="replace") if each.exists() else "" for each in streams)
    for each in streams:
        each.unlink(missing_ok=True)
    return Ended(os.waitstatus_to_exitcode(status), len(count), out, err)


def _be_child(
    arguments: Sequence[str],
    folder: Path,
    streams: Sequence[Path],
    at: int,
    by: str,
    limit: Callable[[], None] | None,
) -> None:
    """Never returns: runs the command line with its streams in files and leaves."""
    code = 70
    # A parent in the background (nohup, a runner) ignores Ctrl-C, and its children inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for descriptor, path in ((1, streams[0]), (2, streams[1])):
            file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
        os.chdir(folder)
        sys.argv = ["dfprompt", *arguments]
        _count_operations(
            folder.resolve(), os.open(streams[2], os.O_CREAT | os.O_WRONLY | os.O_TRUNC), at, by
        )
        if limit is not None:
            limit()
        from dfprompt.cli.main import main

        _name_in_order()
        main()
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:  # noqa: BLE001 - what a real process would show as a traceback
        traceback.print_exc()
        code = 71
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _name_in_order() -> None:
    """Let a study's names, which are random, be the same in every child."""
    from dfprompt.study import making, sealing

    numbers = itertools.count(1)
    for room in (making, sealing):
        room.token_hex = lambda size: f"{next(numbers):0{2 * size}x}"  # type: ignore[attr-defined]


def _count_operations(below: Path, counter: int, at: int, by: str) -> None:
    root, done, write, sync = str(below), [0], os.write, os.fsync

    def step() -> None:
        done[0] += 1
        write(counter, b".")
        if done[0] != at:
            return
        if by in SIGNALS:
            os.kill(os.getpid(), SIGNALS[by])
            return
        raise OSError(28, "No space left on device") if by == "OSError" else MemoryError("no memory")

    def ours(path: Any) -> bool:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")
            except OSError:
                return False
        try:
            return os.path.abspath(os.fsdecode(path)).startswith(root + os.sep)
        except (TypeError, ValueError):
            return False

    def hook(event: str, details: tuple[Any, ...]) -> None:
        if event == "open":
            writes = isinstance(details[2], int) and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
            if writes and ours(details[0]):
                step()
        elif event in OPERATIONS:
            if ours(details[0]):
                step()
        elif event == "ctypes.dlsym" and details[1] == "renameat2":
            step()

    def half_write(descriptor: int, content: Any) -> int:
        if ours(descriptor):
            if done[0] + 1 == at and len(content) > 1:
                write(descriptor, bytes(content)[: len(content) // 2])
            step()
        return write(descriptor, content)

    def counted_sync(descriptor: int) -> None:
        if ours(descriptor):
            step()
        sync(descriptor)

    os.write, os.fsync = half_write, counted_sync
    sys.addaudithook(hook)


def tree(folder: Path) -> dict[str, Any]:
    """Everything below a folder by name: bytes, and JSON without what differs from run to run."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Tables that show seconds are made of rows.jsonl, which is compared.
        if (
            path.is_dir()
            or "tensorboard" in name
            or name.endswith(("tables/methods.csv", "tables/results.md"))
        ):
            continue
        if name.endswith("curves.html") or (path.name == "report.html" and (path.parent / "tables").is_dir()):
            # Pages that show seconds, dates and folders; whole or not is what they are asked.
            found[name] = path.read_text().rstrip().endswith("</html>")
        elif path.suffix in (".json", ".jsonl"):
            lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
            found[name] = [_steady(json.loads(line)) for line in lines]
        elif path.suffix == ".toml":
            found[name] = path.read_text().partition("[provenance]")[0]
        else:
            found[name] = path.read_bytes()
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(each) for key, each in value.items() if key not in TIMES}
    return [_steady(each) for each in value] if isinstance(value, list) else value


def go_on(command: Command, folder: Path, running: Callable[..., Ended] | None = None) -> Ended:
    """Run the command again; with what it takes to go on where something is there to go on with.

    `running` is `run`, or what ends it early.
    """
    running = running or run
    again = running(command.parts, folder)
    if again.code == 2 and command.again:
        again = running([*command.parts, *command.again], folder)
    if again.code == 2 and command.again == ("--resume",) and command.words[0] != "tune":
        again = running([*command.parts, "--force"], folder)
    if again.code == 2 and not command.again and "exists already" in again.err:
        return replace(again, code=0)  # a new folder or none, and it was there: whole, or the files differ
    return again


def begin(command: Command, folder: Path) -> None:
    """Lay out what the command begins with: what is given, and what another run left."""
    folder.mkdir(parents=True, exist_ok=True)
    if command.given:
        shutil.copytree(folder.parent / command.given, folder / command.given)
    for words in command.before:
        left = run(words, folder)
        assert left.code == 0, left.err


def differences(folder: Path, expected: dict[str, Any]) -> list[str]:
    """Names of files that are lost, too many, half or other than expected, and unfinished ones left over."""
    found = tree(folder)
    names = sorted(found.keys() | expected.keys())
    differing = [name for name in names if name not in found or found[name] != expected.get(name)]
    return differing + [str(left.relative_to(folder)) for left in folder.rglob(".dfprompt-*")]


def misspoken(ended: Ended) -> list[str]:
    """What a command that met an error says and must not, or does not say; of one that was killed, nothing.

    Exit code 0 is allowed: what may be left undone was.
    """
    said = ended.err + ended.out
    wrong = [word for word in ("Traceback", "fault of dfprompt", "standard output") if word in said]
    if ended.code > 0 and "error:" not in ended.err and "stopped by" not in ended.err:
        wrong.append(f"code {ended.code} without a word: {ended.err.strip()[-300:]}")
    return wrong


def spread(count: int, points: int) -> list[int]:
    """At most `points` of the operations 1..count, the first and the last among them.

    >>> spread(10, 4), spread(2, 50)
    ([1, 4, 7, 10], [1, 2])
    """
    if count <= points:
        return list(range(1, count + 1))
    return sorted({1 + round(each * (count - 1) / max(1, points - 1)) for each in range(points)})
