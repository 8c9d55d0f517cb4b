"""Works for workers of tests: they can be imported there, and end their process where an item says so."""

from __future__ import annotations

import os
import resource
import signal
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfprompt.errors import DFPromptWarning
from dfprompt.executor import Work

POISON, HANG, GREED = "poison", "hang", "greed"


class Doubling(Work[Any, Any]):
    """Doubles numbers; lists are batches, and words do what they are called."""

    def __init__(self, folder: Path | None = None, *, named: bool = False) -> None:
        super().__init__()
        self.folder, self.named = folder, named

    def build(self) -> int:
        if self.folder is not None:
            (self.folder / f"built-{os.getpid()}").touch()
        return 2

    def work(self, built: int, item: Any) -> Any:
        if isinstance(item, list):
            return [self.work(built, each) for each in item]
        if item == POISON:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == HANG:
            time.sleep(600)
        if item == GREED:
            resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
            bytearray(2**33)
        return built * item

    def split(self, item: Any) -> Sequence[Any]:
        if not isinstance(item, list) or len(item) < 2:
            return [item]
        return [item[: len(item) // 2], item[len(item) // 2 :]]

    def join(self, results: Sequence[Any]) -> Any:
        return [each for part in results for each in part]

    def lost(self, item: Any, reason: str) -> Any:
        return [f"{item[0]}: {reason}"] if self.named else super().lost(item, reason)


def unpicklable(item: Any) -> Any:
    """A result that cannot travel."""
    return lambda: item


def warn_twice(item: Any) -> Any:
    """Say the same to the user twice, and something to nobody."""
    for _ in range(2):
        warnings.warn(f"{item} is odd", DFPromptWarning, stacklevel=1)
    warnings.warn("a library's own remark", UserWarning, stacklevel=1)
    return item


def slowly(item: float) -> float:
    """Take a moment."""
    time.sleep(0.05)
    return 2 * item
