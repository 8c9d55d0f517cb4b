"""What a training says about itself: metrics.jsonl, and TensorBoard where it is wanted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt.errors import ConfigError, TrainingError
from dfprompt.excerpt import quote
from dfprompt.storage import append_lines, read_lines, write_text
from dfprompt.training.disk import writing


class MetricsLog:
    """Rows of numbers by step, appended to a JSONL file one line at a time.

    A resumed training first cuts the rows after its checkpoint: those steps are about to run again.
    """

    def __init__(self, path: Path, *, resume_at: int | None = None, tensorboard: Path | None = None) -> None:
        self.path = path
        kept = [] if resume_at is None else [row for row in read_rows(path) if row["step"] <= resume_at]
        with writing(path):
            write_text(path, "".join(f"{json.dumps(row)}\n" for row in kept))
            self._board = None if tensorboard is None else _open_board(tensorboard, resume_at)

    def write(self, row: Mapping[str, Any]) -> None:
        """Append a row; it must have a "step". Numbers that are not finite become null."""
        with writing(self.path):
            append_lines(self.path, [json.dumps(_finite(row))])
        if self._board is not None:
            for name, value in row.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, row["step"])

    def close(self) -> None:
        """Finish what TensorBoard still holds back."""
        if self._board is not None:
            self._board.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a JSONL file; a last line that a kill left half-written is left out."""
    found = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = json.loads(line)
            found.append({**row, "step": int(row["step"])})
        except (ValueError, ArithmeticError, TypeError, KeyError, RecursionError) as error:
            raise TrainingError(f"{path}, line {number}: not a row of a training: {quote(line)}") from error
    return found


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
    broken = {key for key, value in row.items() if isinstance(value, float) and not math.isfinite(value)}
    return {key: None if key in broken else value for key, value in row.items()}


def _open_board(folder: Path, resume_at: int | None) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ConfigError(
            'logging.tensorboard needs tensorboard: pip install "dfprompt[tb]", or set it to false'
        ) from error
    return SummaryWriter(str(folder), purge_step=None if resume_at is None else resume_at + 1)
