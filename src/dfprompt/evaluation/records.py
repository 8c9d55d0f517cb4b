"""The rows of an evaluation: one per picture kept, in a JSONL file that survives a kill at any moment."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from types import TracebackType
from typing import TypeAlias

from dfprompt.errors import EvaluationError
from dfprompt.excerpt import quote

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
    return _parse(path, _whole_lines(path))


def _whole_lines(path: Path) -> bytes:
    try:
        content = path.read_bytes() if path.exists() else b""
    except OSError as error:
        raise EvaluationError(f"cannot read {path}: {error.strerror}") from error
    return content[: content.rfind(b"\n") + 1]


def _parse(path: Path, content: bytes) -> list[Row]:
    rows: dict[RowKey, Row] = {}
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n")[:-1], 1):
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
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("ab")
        except OSError as error:
            raise EvaluationError(f"cannot write {path}: {error.strerror}; choose another folder") from error
        try:
            _lock(self._file.fileno(), path)
            whole = _whole_lines(path)
            self.rows = {row.key: row for row in _parse(path, whole)}
            if path.stat().st_size > len(whole):
                self._file.truncate(len(whole))
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the disk; raises EvaluationError where the disk refuses or a row is there already."""
        lines = []
        for row in rows:
            if row.key in self.rows:
                raise EvaluationError(f"{self.path}: {row.key} stands there already")
            lines.append(row.to_line())
            self.rows[row.key] = row
        if not lines:
            return
        try:
            self._file.write("".join(lines).encode("ascii"))
            self._file.flush()
            os.fsync(self._file.fileno())
        except OSError as error:
            raise EvaluationError(
                f"cannot write {self.path}: {error.strerror}; make room and run the command again"
            ) from error

    def drop_failed(self) -> int:
        """Remove the rows in which something failed, so that they are computed again; returns how many."""
        kept = {key: row for key, row in self.rows.items() if not row.failed}
        dropped = len(self.rows) - len(kept)
        if dropped:
            content = "".join(row.to_line() for row in kept.values()).encode("ascii")
            partial = self.path.with_name(self.path.name + ".partial")
            partial.write_bytes(content)
            os.replace(partial, self.path)
            self._file.close()
            self._file = self.path.open("ab")
            _lock(self._file.fileno(), self.path)
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


def _lock(descriptor: int, path: Path) -> None:
    """Take the file for this process; the system frees it when the process ends, however it ends."""
    with suppress(ImportError):  # Windows has no fcntl; there nothing guards against a second process
        import fcntl

        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise EvaluationError(f"another evaluation is writing {path}; wait for it") from error
        except OSError:
            return  # a file system without locks
