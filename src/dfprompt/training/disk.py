"""What a training writes, and what it says where the disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from dfprompt.errors import TrainingError


@contextmanager
def writing(what: Path | str, then: str = "make room and go on with --resume") -> Iterator[None]:
    """Raise TrainingError for what cannot be written, with what to do then.

    >>> with writing(Path("metrics.jsonl")):
    ...     pass
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise TrainingError(f"cannot write {what}: {error}; {then}") from error
