"""What every benchmark prints first, and how it takes times."""

from __future__ import annotations

import gc
import os
import platform
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path


def header(topic: str) -> str:
    """Return the topic, date, machine and commit, for the top of a benchmark's output."""
    date = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    machine = f"{_processor()}, {os.cpu_count()} cores{load}, Python {platform.python_version()}"
    return f"{topic}\n  {date} | {machine} | commit {_commit()}"


def best_seconds(work: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the shortest of several runs: the one the rest of the machine disturbed least."""
    return min(_seconds(work) for _ in range(repeats))


def best_processor_seconds(work: Callable[[], object], *, repeats: int = 3) -> float:
    """Return the least processor time of several runs, without the garbage collector, as timeit has it."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        return min(_seconds(work, time.process_time) for _ in range(repeats))
    finally:
        if was_on:
            gc.enable()


def _seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    start = clock()
    work()
    return clock() - start


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    ran = subprocess.run(asked, capture_output=True, text=True, check=False, cwd=Path(__file__).parent)
    return ran.stdout.strip() or "unknown"
