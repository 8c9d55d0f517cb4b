"""Every drawing asked for, kept: a line each in `history.jsonl`, its pictures in a folder of its own.

A line is on the disk before anything is drawn, a picture before its row; a kill at any moment leaves whole
lines and whole pictures, and a drawing that was cut short can go on. Nothing is ever rewritten: what is
removed gets a line that says so, and its pictures go.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dfprompt import storage
from dfprompt.errors import DFPromptError, EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS, read_rows
from dfprompt.measurement.rows import Row

LINES = "history.jsonl"
PICTURES = "drawings"
_ID = re.compile(r"\d{1,9}")
_ADVICE = "make room, and draw it again; what was drawn before is kept"


@dataclass(frozen=True)
class Drawing:
    """One drawing asked for: the plain words, what is drawn beside them, the seeds and the settings.

    `columns` are label and DF-Prompt of everything but plain. `parent` is the drawing it was changed from.
    """

    id: str
    created: str
    text: str
    plain: str
    columns: tuple[tuple[str, str], ...]
    seeds: tuple[int, ...]
    kind: str = "draw"
    parent: str | None = None
    negative: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    policy: str | None = None

    @property
    def labels(self) -> tuple[str, ...]:
        """What is drawn, plain first."""
        return ("plain", *(label for label, _ in self.columns))

    def to_line(self) -> str:
        """Return the drawing as one line of JSON, ASCII alone."""
        return json.dumps({"dfprompt": 1, **asdict(self)}, allow_nan=False)


class History:
    """The drawings of a folder, and what was drawn of them; one process at a time.

    Raises InputError for a folder that another process has, EvaluationError for a damaged line.

    >>> import tempfile
    >>> with History(Path(tempfile.mkdtemp())) as history:
    ...     made = history.add(text="a cat", plain="a cat", columns=(), seeds=(0,), created="now")
    ...     made.id, [each.id for each in history.drawings]
    ('1', ['1'])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._last = 0
        self._drawings: dict[str, Drawing] = {}
        self._cards: dict[str, dict[str, Any]] = {}
        with storage.reported(folder, InputError, "choose another --output"):
            self._file = storage.LineFile(folder / LINES)
        try:
            self._read(storage.read_lines(folder / LINES))
        except BaseException:
            self._file.close()
            raise

    @property
    def drawings(self) -> list[Drawing]:
        """The drawings that are kept, oldest first."""
        with self._lock:
            return list(self._drawings.values())

    def add(self, **values: Any) -> Drawing:
        """Write down what is to be drawn; raises EvaluationError where the disk refuses."""
        with self._lock:
            drawing = Drawing(id=str(self._last + 1), **values)
            self._append(drawing.to_line())
            self._last += 1
            self._drawings[drawing.id] = drawing
        return drawing

    def remove(self, number: str) -> None:
        """Forget a drawing and delete its pictures; raises InputError where there is none."""
        drawing = self.find(number)
        with self._lock:
            self._append(json.dumps({"dfprompt": 1, "removed": drawing.id}))
            del self._drawings[drawing.id]
            self._cards.pop(drawing.id, None)
        with storage.reported(self.place(drawing), EvaluationError, _ADVICE):
            storage.remove(self.place(drawing))

    def find(self, number: str) -> Drawing:
        """Return a drawing; raises InputError where there is none."""
        with self._lock:
            found = self._drawings.get(number)
        if found is None:
            raise InputError(f"there is no drawing {quote(number)}")
        return found

    def place(self, drawing: Drawing) -> Path:
        """Return the folder of a drawing's log and pictures."""
        return self.folder / PICTURES / drawing.id

    def rows(self, drawing: Drawing) -> list[Row]:
        """Return what was drawn of a drawing."""
        return read_rows(self.place(drawing) / ROWS)

    def card(self, drawing: Drawing) -> dict[str, Any]:
        """Return a drawing with its rows as a page shows it; kept once everything is drawn and scored."""
        with self._lock:
            kept = self._cards.get(drawing.id)
        if kept is not None:
            return kept
        try:
            rows, problem = self.rows(drawing), None
        except DFPromptError as error:
            rows, problem = [], str(error)
        wanted = len(drawing.labels) * len(drawing.seeds)
        shown = {
            **asdict(drawing),
            "pictures": [_picture(drawing, number, row) for number, row in enumerate(rows)],
            "missing": max(0, wanted - len(rows)),
            "problem": problem,
        }
        if not shown["missing"]:
            with self._lock:
                self._cards[drawing.id] = shown
        return shown

    def picture(self, number: str, index: int) -> Path:
        """Return the file of a picture by its drawing and its place there; raises InputError for none."""
        drawing = self.find(number)
        rows = self.rows(drawing)
        name = rows[index].picture if 0 <= index < len(rows) else None
        if name is None or Path(name).name != name:  # a log that somebody else wrote names no other place
            raise InputError(f"drawing {number} has no picture {index}")
        return self.place(drawing) / name

    def close(self) -> None:
        """Give the folder free."""
        self._file.close()

    def __enter__(self) -> History:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def _append(self, line: str) -> None:
        with storage.reported(self._file.path, EvaluationError, _ADVICE):
            self._file.append([line])

    def _read(self, lines: Iterable[str]) -> None:
        for number, line in enumerate(lines, 1):
            values = _values(line, f"{self.folder / LINES}, line {number}")
            if "removed" in values:
                self._drawings.pop(str(values["removed"]), None)
                continue
            drawing = _drawing(values, f"{self.folder / LINES}, line {number}")
            self._last = max(self._last, int(drawing.id))
            self._drawings[drawing.id] = drawing


def _picture(drawing: Drawing, number: int, row: Row) -> dict[str, Any]:
    return {
        "id": f"{drawing.id}/{number}" if row.picture else None,
        "label": row.method,
        "seed": row.seed,
        "scores": dict(row.scores),
        "failed": dict(row.failed),
    }


def _values(line: str, where: str) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"{where}: not a drawing: {quote(line)}") from error
    if not isinstance(values, dict):
        raise EvaluationError(f"{where}: not a drawing: {quote(line)}")
    return values


def _drawing(values: dict[str, Any], where: str) -> Drawing:
    known = {each.name for each in fields(Drawing)}
    try:
        given = {name: value for name, value in values.items() if name in known}
        columns = tuple((str(label), str(text)) for label, text in given.pop("columns"))
        seeds = tuple(int(seed) for seed in given.pop("seeds"))
        drawing = Drawing(columns=columns, seeds=seeds, **given)
        texts = (drawing.id, drawing.text, drawing.plain, drawing.created)
        fits = all(isinstance(each, str) for each in texts) and _ID.fullmatch(drawing.id) is not None
        fits = fits and isinstance(drawing.settings, dict) and isinstance(drawing.negative, str | None)
    except (TypeError, ValueError, ArithmeticError, KeyError) as error:
        raise EvaluationError(f"{where}: not a drawing: {quote(json.dumps(values))}") from error
    if not fits:
        raise EvaluationError(f"{where}: not a drawing: {quote(json.dumps(values))}")
    return drawing
