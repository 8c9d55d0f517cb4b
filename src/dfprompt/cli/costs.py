"""The cost of a command on the screen: before it draws, and how long is left while it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from dfprompt.cli import console

if TYPE_CHECKING:
    from dfprompt.api.costs import Cost


def tell(cost: Callable[[], Cost], *, asked: bool, as_json: bool) -> bool:
    """Say the cost: as the answer where that is all that was asked (True), else only where it is much."""
    from dfprompt.api.costs import MANY

    found = cost()
    if not asked:
        if found.pictures > MANY:
            console.note(f"to draw: {found}")
        return False
    if as_json:
        console.write_json(found.to_json())
    else:
        console.write(str(found))
    return True


class TimeLeft:
    """Says on stderr how much is done and what is left by the measured rate: after the first batch, then at
    every tenth.

    The first call says what stands already.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.clock = what, clock
        self._begun: tuple[float, int] | None = None
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Take how much is done."""
        now = self.clock()
        if self._begun is None:
            self._begun = now, done
            return
        started, before = self._begun
        if done > before and (done >= self._next or done == total):
            left = (now - started) / (done - before) * (total - done)
            self._next = done + total / 10
            told = f", about {span(left)} left" if done < total else f" in {span(now - started)}"
            console.note(f"{done} of {total} {self.what}{told}")


def span(seconds: float) -> str:
    """Say a time.

    >>> span(5), span(400), span(7300), span(260_000)
    ('5 s', '7 min', '2.0 h', '3.0 days')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.1f} days"
