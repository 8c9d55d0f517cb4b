"""The live line of a training on stderr: steps, time left, its figures, and sample rewrites above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from dfprompt.cli import console

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_TITLE = 24  # columns at most


class TrainingBar:
    """Shows rows of a training as they come; `figures` maps a row's key to its name on screen.

    A figure that a row lacks keeps its last value, as the validation loss does between validations.
    """

    def __init__(self, title: str, figures: Mapping[str, str]) -> None:
        self.title, self.figures = title, figures
        self.progress: Progress | None = None
        self.task: TaskID | None = None
        self._last: dict[str, float] = {}

    def __enter__(self) -> TrainingBar:
        return self

    def _start(self, steps: int) -> Progress:
        """Draw the bar only once there is something to show: an error before that stands alone."""
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
        from rich.table import Column

        console = Console(stderr=True)
        whole = Column(no_wrap=True)  # on a narrow terminal figures give way, not bar and time left
        self.progress = Progress(
            TextColumn(
                "{task.description}", markup=False, table_column=Column(no_wrap=True, max_width=_TITLE)
            ),
            BarColumn(bar_width=_bar_width(console.width), table_column=whole),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[unit]}{task.fields[figures]}", markup=False),
            console=console,
        )
        self.task = self.progress.add_task(self.title, total=steps, figures="", unit="left  ")
        self.progress.start()
        return self.progress

    def show(self, row: Mapping[str, Any]) -> None:
        """Take a row with "step", "steps", its figures and perhaps "samples"."""
        progress = self.progress or self._start(row["steps"])
        assert self.task is not None
        self._last |= {key: row[key] for key in self.figures if isinstance(row.get(key), int | float)}
        figures = self._fit(_room(progress.console.width, self.title, row["steps"]))
        progress.update(self.task, completed=row["step"], figures=figures)
        for alert in row.get("alerts") or ():
            console.note(f"warning: step {row['step']}: {alert}")
        self._show_samples(row["step"], row.get("samples") or ())

    def _fit(self, room: int) -> str:
        """Return the first figures, in the order they were asked for, that fit as a whole."""
        text = ""
        for key in (key for key in self.figures if key in self._last):
            longer = f"{text}{'  ' if text else ''}{self.figures[key]} {self._last[key]:.4g}"
            if len(longer) > room:
                break
            text = longer
        return text

    def move(self, done: int, total: int, stage: str = "") -> None:
        """Show what is done of a count, and in which stage."""
        progress = self.progress or self._start(total)
        assert self.task is not None
        progress.update(self.task, description=stage or self.title, completed=done, total=total)

    def close(self) -> None:
        """Leave the bar as it stands."""
        if self.progress is not None:
            self.progress.stop()

    def _show_samples(self, step: int, samples: Sequence[Mapping[str, Any]]) -> None:
        """Sample prompts stand above the bar, where they stay."""
        if samples:
            console.note(f"step {step}")
        for sample in samples:
            console.note(f"  {sample['text']}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.progress is not None:
            self.progress.stop()


def _bar_width(width: int) -> int:
    return 20 if width >= 80 else 10


def _room(width: int, title: str, steps: int) -> int:
    """Columns that title, bar, count, time left and its word leave for figures."""
    parts = (min(len(title), _TITLE), _bar_width(width), len(f"{steps}/{steps}"), len("00:00:00"))
    return width - sum(part + 1 for part in parts) - len("left  ")
