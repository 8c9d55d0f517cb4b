"""What a training writes, and what it says where the disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dfprompt.errors import TrainingError
from dfprompt.storage import reported


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise TrainingError for a file or folder that cannot be written, with what to do then.

    >>> with writing(Path("metrics.jsonl")):
    ...     pass
    """
    with reported(path, TrainingError, "make room and go on with --resume"):
        yield
