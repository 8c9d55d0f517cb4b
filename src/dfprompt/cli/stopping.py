"""Ctrl-C and SIGTERM: the command ends in order, says what is kept and how to go on, exits with 128 + n."""

from __future__ import annotations

import signal
import threading
from types import FrameType

_NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Stopped(BaseException):
    """Somebody wants the command to end; no `except Exception` on the way may take it for a failure."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number
        self.kept = "nothing half-written was left"
        """What a command says that it leaves."""

    @property
    def exit_code(self) -> int:
        """What shells report of a process that a signal ended."""
        return 128 + self.number


def listen() -> None:
    """Turn the first Ctrl-C or SIGTERM into `Stopped`; a second one ends the process at once.

    Signals that are ignored (a job under nohup) stay so; outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _NAMES:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)


def _stop(number: int, frame: FrameType | None) -> None:
    for each in _NAMES:
        signal.signal(each, signal.SIG_DFL)
    raise Stopped(number)


def describe(stopped: Stopped) -> str:
    """What to tell a person whose command was stopped.

    >>> describe(Stopped(2))
    'stopped by Ctrl-C; nothing half-written was left'
    """
    return f"stopped by {_NAMES.get(signal.Signals(stopped.number), stopped.number)}; {stopped.kept}"
