"""Writing the text files of an evaluation: whole or not at all."""

from __future__ import annotations

from pathlib import Path

from dfprompt import storage
from dfprompt.errors import EvaluationError


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; raises EvaluationError where the disk refuses."""
    with storage.reported(path, EvaluationError):
        storage.write_text(path, text)
