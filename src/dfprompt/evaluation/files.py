"""Writing the text files of an evaluation: whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from dfprompt.errors import EvaluationError


def write_text(path: Path, text: str) -> None:
    """Write a file by way of a temporary name; raises EvaluationError where the disk refuses."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, path)
    except OSError as error:
        raise EvaluationError(f"cannot write {path}: {error.strerror}; check the folder") from error
