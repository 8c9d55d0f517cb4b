"""Jobs for processes of their own; a module without heavy imports, because each process imports it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from dfprompt.errors import TrainingError


def works(name: str, note: Callable[[str], None]) -> Path:
    """Says that it begins, and returns a path of its name."""
    note(f"{name} begins")
    return Path(name)


def fails(note: Callable[[str], None]) -> Path:
    """Fails as a training does."""
    raise TrainingError("the loss is nan")


def dies(note: Callable[[str], None]) -> Path:
    """Ends its process without a word."""
    os._exit(9)
