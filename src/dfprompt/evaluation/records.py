"""The rows of an evaluation: one per picture kept, in a JSONL file that survives a kill at any moment."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from dfprompt.errors import EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.storage import LineFile, read_lines, reported

RowKey: TypeAlias = tuple[str, str, int]
"""Method, prompt id, seed."""


@dataclass(frozen=True)
class Row:
    """One picture of one method: what was drawn, its scores, and what failed.

    `seed` counts the pictures of a prompt, `noise` is the seed it was drawn from. `scores` holds every
    column that could be computed; `failed` says by name ("method", "picture", or a score's) what could not
    and why. `pictures` were drawn for this row; `seconds` is their share of the drawing time.
    """

    method: str
    prompt_id: str
    prompt: str
    seed: int
    noise: int | None = None
    df_prompt: str | None = None
    picture: str | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    pictures: int = 0
    seconds: float = 0.0

    @property
    def key(self) -> RowKey:
        """What a row is found by; a file holds each once."""
        return self.method, self.prompt_id, self.seed

    def to_line(self) -> str:
        """Return the row as one line of JSON, ASCII only."""
        values = asdict(self)
        values["scores"] = {name: _finite(value) for name, value in self.scores.items()}
        return json.dumps(values, allow_nan=False) + "\n"


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise EvaluationError(f"a score must be a finite number, not {value}")
    return value


def parse_row(line: str, where: str) -> Row:
    """Read one line; raises EvaluationError that names the place."""
    try:
        values = json.loads(line)
        known = {each.name for each in fields(Row)}
        row = Row(**{name: value for name, value in values.items() if name in known})
        checks = (
            isinstance(row.method, str),
            isinstance(row.prompt_id, str),
            isinstance(row.seed, int),
            isinstance(row.scores, dict),
            isinstance(row.failed, dict),
        )
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EvaluationError(f"{where}: not a row of an evaluation: {quote(line)}") from error
    if not all(checks):
        raise EvaluationError(f"{where}: not a row of an evaluation: {quote(line)}")
    return row


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a file; a last line that a kill left half-written is no row.

    Raises EvaluationError for a damaged line or one picture in two rows.
    """
    try:
        lines = read_lines(path)
    except OSError as error:
        raise EvaluationError(f"cannot read {path}: {error.strerror}") from error
    rows: dict[RowKey, Row] = {}
    for number, line in enumerate(lines, 1):
        row = parse_row(line, f"{path}, line {number}")
        if row.key in rows:
            raise EvaluationError(f"{path}, line {number}: {row.key} stands there twice")
        rows[row.key] = row
    return list(rows.values())


class RowFile:
    """Appends rows to a file, and knows which are there already.

    Opening cuts a half-written last line off. A second process that opens the file gets an
    EvaluationError instead of doubling rows.

    >>> # with RowFile(Path("rows.jsonl")) as file:
    >>> #     file.append([Row("plain", "a", "a cat", 0)])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with reported(path, EvaluationError, "choose another folder"):
                self._file = LineFile(path)
        except InputError as error:
            raise EvaluationError(f"another evaluation is writing {path}; wait for it") from error
        try:
            self.rows = {row.key: row for row in read_rows(path)}
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the disk; raises EvaluationError where the disk refuses or a row is there already."""
        fresh = {}
        for row in rows:
            if row.key in self.rows or row.key in fresh:
                raise EvaluationError(f"{self.path}: {row.key} stands there already")
            fresh[row.key] = row
        if fresh:
            with reported(self.path, EvaluationError, "make room and run the command again"):
                self._file.append(row.to_line().removesuffix("\n") for row in fresh.values())
        self.rows |= fresh

    def drop_failed(self) -> int:
        """Remove the rows in which something failed, so that they are computed again; returns how many."""
        kept = {key: row for key, row in self.rows.items() if not row.failed}
        dropped = len(self.rows) - len(kept)
        if dropped:
            with reported(self.path, EvaluationError, "make room and run the command again"):
                self._file.rewrite(row.to_line().removesuffix("\n") for row in kept.values())
            self.rows = kept
        return dropped

    def close(self) -> None:
        """Close the file and give it free."""
        self._file.close()

    def __enter__(self) -> RowFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
