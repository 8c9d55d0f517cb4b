"""Ending workers as machines do: kill -9 at a moment nobody chose."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKERS = ("dfprompt.executor.worker", "ray::_Actor")


def find_workers() -> list[int]:
    """The workers below this process, by their ids."""
    parents: dict[int, int] = {}
    named: list[int] = []
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except (OSError, ValueError):
                continue
            if any(each in words for each in WORKERS):
                named.append(int(place.name))
    return [pid for pid in named if _descends(pid, parents)]


def _descends(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == os.getpid():
            return True
        pid = parents[pid]
    return False


HEAD_OF = "DFPROMPT_HEAD"  # in the environment of whoever begins a cluster, and so of its processes


def kill_head(mark: str) -> None:
    """End the head of the cluster that a process with this mark has begun."""
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                words = (place / "cmdline").read_bytes().split(b"\0")
                mine = f"{HEAD_OF}={mark}".encode() in (place / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mine and words[0].endswith((b"gcs_server", b"raylet")):
                os.kill(int(place.name), signal.SIGKILL)


@contextmanager
def one_killed(seed: int, within: float) -> Iterator[list[int]]:
    """Kill one worker up to `within` seconds after the first was seen; yields who was killed."""
    chance, killed, over = random.Random(seed), list[int](), threading.Event()

    def hunt() -> None:
        while not over.is_set() and not find_workers():
            time.sleep(0.02)
        over.wait(chance.uniform(0, within))
        if not over.is_set() and (alive := find_workers()):
            victim = chance.choice(alive)
            os.kill(victim, signal.SIGKILL)
            killed.append(victim)

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        yield killed
    finally:
        over.set()
        hunter.join()
