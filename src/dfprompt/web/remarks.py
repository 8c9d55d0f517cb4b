"""What is warned of while a job runs becomes the job's notes; each thread has its own."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from dfprompt.errors import DFPromptWarning
from dfprompt.web.jobs import Job


def listen_to_warnings() -> None:
    """Begin to take what is warned of, for as long as the process lasts."""
    warnings.simplefilter("always", DFPromptWarning)
    warnings.showwarning = _Remarks(warnings.showwarning)


class _Remarks:
    """Shows warnings where they belong: with the job whose thread warns, else where they went before."""

    here = threading.local()

    def __init__(self, before: Callable[..., None]) -> None:
        self.before = before

    def __call__(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        notes: list[str] | None = getattr(self.here, "notes", None)
        if notes is None:
            self.before(message, category, filename, lineno, file, line)
        elif issubclass(category, DFPromptWarning) and str(message) not in notes:
            notes.append(str(message))


@contextmanager
def remarks_in(job: Job) -> Iterator[None]:
    """Let what is warned of in this thread become the job's notes while the block lasts."""
    _Remarks.here.notes = job.notes
    try:
        yield
    finally:
        _Remarks.here.notes = None
