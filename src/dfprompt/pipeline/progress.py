"""Progress of drawing: counted in picture-steps, shown by rich on stderr when asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Called with the picture-steps done and in all.
Report = Callable[[int, int], None]


def report_nothing(done: int, total: int) -> None:
    """Report to nobody."""


@contextmanager
def reporting(progress: bool | Report, label: str = "drawing") -> Iterator[Report]:
    """Yield what to call with the picture-steps done and in all: rich's bar on stderr for True.

    >>> with reporting(False) as report:
    ...     report(1, 10)
    """
    if callable(progress):
        yield progress
        return
    from rich.console import Console

    console = Console(stderr=True)
    if not progress or not console.is_terminal:  # a bar in a log file is noise
        yield report_nothing
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.table import Column

    width = 40 if console.width >= 80 else 10  # on a narrow terminal the bar gives way, not the time left
    columns = (
        TextColumn("{task.description}", table_column=Column(no_wrap=True)),
        BarColumn(width, table_column=Column(no_wrap=True)),
        TaskProgressColumn(table_column=Column(no_wrap=True)),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class Steps:
    """Counts picture-steps over batches that may be drawn again when memory runs out."""

    def __init__(self, report: Report, total: int) -> None:
        self.report = report
        self.total = total
        self.finished = 0

    def show(self, unfinished: int) -> None:
        """Report what is finished, and this much of the batch in hand."""
        self.report(min(self.finished + unfinished, self.total), self.total)

    def finish(self, steps: int) -> None:
        """Count a finished batch."""
        self.finished += steps
        self.show(0)
