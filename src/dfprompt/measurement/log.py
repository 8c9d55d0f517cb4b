"""The log of a measurement: what is measured, then a line per picture, on the disk before the next one.

The first line says what is measured: `{"dfprompt": 1, "measurement": "evaluation", "asked": {...}, "methods":
{name: definition}, "provenance": {...}}`. A folder goes on only with the same questions; methods may join.
Every other line is a `Row`; of two lines for one picture the later one holds. A log without a path is kept
in memory alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from dfprompt.config import collect_provenance
from dfprompt.errors import DFPromptError, EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.measurement.rows import UNSCORED, Row, RowKey, parse_row
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.parser import read_back
from dfprompt.storage import LineFile, read_json, read_lines, reading, reported

ROWS = "rows.jsonl"
_BEFORE = "evaluation.json"  # where folders of earlier versions say what is measured
_OLD_FIELDS = ("model", "settings", "negative_prompt", "scores", "rewrite_seed")
_ADVICE = "make room or choose another --output, and run the command again"


class MeasurementLog:
    """Rows by method, prompt and seed, appended one batch at a time.

    `kind` is what messages call the measurement, `asked` what must be the same for it to go on, `methods`
    the definitions of those that take part (another one under a known name is refused, unless it is among
    `free`, whose rows are known by their own words). `folder` is where pictures are named from, the log's own
    by default. Raises InputError for a folder that holds another
    measurement, one that another process is writing, or one there already without `resume`;
    EvaluationError for a damaged line or where the disk refuses.

    >>> with MeasurementLog() as log:
    ...     log.append([Row("plain", "a", "a cat", 0, df_prompt="a cat", scores={"clip": 0.25})])
    >>> log.find(("plain", "a", 0), DFPrompt.from_plain("a cat")).scores
    {'clip': 0.25}
    """

    def __init__(
        self,
        path: Path | None = None,
        asked: Mapping[str, Any] | None = None,
        *,
        kind: str = "measurement",
        methods: Mapping[str, str] | None = None,
        free: Iterable[str] = (),
        resume: bool = True,
        folder: Path | None = None,
    ) -> None:
        self.path, self.kind = path, kind
        self.folder = folder or (Path() if path is None else path.parent)
        """Where pictures are named from."""
        self.rows: dict[RowKey, Row] = {}
        self.asked: dict[str, Any] = json.loads(json.dumps(dict(asked or {})))
        self.methods = dict(methods or {})
        self._file: LineFile | None = None
        if path is None:
            return
        with reported(path, EvaluationError, _ADVICE):
            self._file = LineFile(path)
        try:
            self._open(read_lines(path), path, set(free), resume=resume)
        except BaseException:
            self.close()
            raise

    def find(self, key: RowKey, words: DFPrompt | None, *, retry_failed: bool = False) -> Row | None:
        """Return the row of a picture drawn from these words; None if there is none, or a failed one is no
        answer.

        A row of other words under the same key (a rewrite that was mended since) is none, nor is one whose
        picture was not scored yet.
        """
        row = self.drawn(key, words)
        if row is None or UNSCORED in row.failed or (retry_failed and row.failed):
            return None
        return row

    def drawn(self, key: RowKey, words: DFPrompt | None) -> Row | None:
        """Return the row of a picture drawn from these words, whatever its scores; None if there is none."""
        row = self.rows.get(key)
        return row if row is not None and _is_of(row, words) else None

    def append(self, rows: Iterable[Row]) -> None:
        """Write rows to the disk, all or none; one that stands there already is replaced."""
        listed = list(rows)
        lines = [row.to_line() for row in listed]
        if self._file is not None and lines:
            with reported(self._file.path, EvaluationError, _ADVICE):
                self._file.append(lines)
        self.rows |= {row.key: row for row in listed}

    def close(self) -> None:
        """Close the file and give it free."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> MeasurementLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, lines: list[str], path: Path, free: set[str], *, resume: bool) -> None:
        head, rest = _split(lines, path)
        if head is None:
            self._begin([], {})
            return
        if not resume:
            raise InputError(
                f"{path} holds a {self.kind}; add --resume to go on with it, or choose another --output"
            )
        known: dict[str, str] = head.get("methods", {})
        self._check(head, known, free)
        first = len(lines) - len(rest) + 1
        for number, line in enumerate(rest, first):
            row = parse_row(line, f"{path}, line {number}")
            self.rows[row.key] = row
        self.methods = {**known, **self.methods}
        if first == 1 or self.methods != known:
            self._begin(rest, head)

    def _begin(self, rows: list[str], head: Mapping[str, Any]) -> None:
        """Write the first line, with the rows there are behind it."""
        assert self._file is not None
        values = {"dfprompt": 1, "measurement": self.kind, "asked": self.asked, "methods": self.methods}
        values["provenance"] = head.get("provenance") or collect_provenance()
        lines = [json.dumps(values)]
        with reported(self._file.path, EvaluationError, _ADVICE):
            if head or rows:
                self._file.rewrite([*lines, *rows])
            else:
                self._file.append(lines)

    def _check(self, head: Mapping[str, Any], known: Mapping[str, str], free: set[str]) -> None:
        """Raise InputError naming what differs from the measurement that stands there."""
        if head.get("measurement") != self.kind:
            raise InputError(
                f"{self.folder} holds a measurement of another kind: {head.get('measurement')}; choose "
                "another --output"
            )
        before = head.get("asked", {})
        changed = [name for name in {**before, **self.asked} if before.get(name) != self.asked.get(name)]
        example = changed[:1]
        changed += [
            f"method {name}"
            for name, definition in self.methods.items()
            if name not in free and known.get(name, definition) != definition
        ]
        if changed:
            raise InputError(
                f"{self.folder} holds another {self.kind}: {', '.join(changed)} differ"
                f"{''.join(self._example(before, name) for name in example)}; repeat the command as it was, "
                "or choose another --output"
            )

    def _example(self, before: Mapping[str, Any], name: str) -> str:
        was, now = (quote(json.dumps(each.get(name)), 80) for each in (before, self.asked))
        return f" ({name}: {was}, now {now})"


def _is_of(row: Row, words: DFPrompt | None) -> bool:
    if words is None or row.df_prompt is None:
        return words is None and row.df_prompt is None
    if row.df_prompt == str(words):
        return True
    try:
        return read_back(row.df_prompt) == words  # printed by another version
    except DFPromptError:
        return False


def _split(lines: list[str], path: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """Return the first line's contents, None for a file without lines, and the lines of rows."""
    if not lines:
        return None, []
    try:
        head = json.loads(lines[0])
    except (ValueError, RecursionError):
        head = None
    if isinstance(head, dict) and "measurement" in head:
        if not all(isinstance(head.get(name, {}), dict) for name in ("asked", "methods")):
            raise EvaluationError(f"{path} is damaged: its first line does not say what was measured")
        return head, lines[1:]
    return _read_before(path.parent), lines


def _read_before(folder: Path) -> dict[str, Any]:
    """Return what a folder of an earlier version says is measured there."""
    path = folder / _BEFORE
    try:
        values = read_json(path)
        asked = {name: values.get(name) for name in _OLD_FIELDS}
        return {
            "measurement": "evaluation",
            "asked": asked,
            "methods": dict(values["methods"]),
            "provenance": values.get("provenance"),
        }
    except FileNotFoundError as error:
        raise InputError(
            f"{folder} holds rows and nothing that says of what; choose another --output"
        ) from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise EvaluationError(f"{path} is damaged: {error}") from error


def read_head(path: Path) -> dict[str, Any]:
    """Return what a log's first line says is measured; an empty mapping for a log without one.

    >>> read_head(Path("nowhere.jsonl"))
    {}
    """
    try:
        return _split(read_lines(path), path)[0] or {}
    except (OSError, DFPromptError):
        return {}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a log, whoever is writing it; raises EvaluationError for a damaged line.

    >>> read_rows(Path("nowhere.jsonl"))
    []
    """
    with reading(path, EvaluationError):
        lines = read_lines(path)
    rows: dict[RowKey, Row] = {}
    for number, line in enumerate(lines, 1):
        if number == 1 and line.startswith('{"dfprompt"'):
            continue
        row = parse_row(line, f"{path}, line {number}")
        rows[row.key] = row
    return list(rows.values())


def read_asked(path: Path) -> dict[str, Any]:
    """Return what a log's first line says was asked: model, settings, scores and what its kind adds.

    Raises EvaluationError for a damaged first line, InputError for a log without one.
    """
    with reading(path, EvaluationError):
        head, _ = _split(read_lines(path), path)
    asked = (head or {}).get("asked")
    if not isinstance(asked, dict):
        raise InputError(f"{path} says nothing of what was measured; leave it out")
    return asked
