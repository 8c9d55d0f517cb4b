"""Workers that are processes of this machine."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from dfprompt.errors import ConfigError, ExecutorError
from dfprompt.executor.answers import Answer, Lost
from dfprompt.executor.dispatch import Starts
from dfprompt.executor.worker import OUT_OF_MEMORY, READY


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    connection: Connection
    ready: bool = False


class ProcessCrew:
    """`size` processes; `environments` are added to theirs, place by place.

    What is given must be picklable: `dumps` does it, and its bytes are read by `pickle.loads`.
    """

    def __init__(
        self,
        size: int,
        environments: Sequence[dict[str, str]] = (),
        dumps: Callable[[Any], bytes] = pickle.dumps,
    ) -> None:
        if os.name != "posix":
            raise ConfigError("--workers needs Linux or macOS; leave it out, or use --ray")
        self.size, self.environments, self.dumps = size, list(environments) or [{}] * size, dumps
        self._workers: dict[int, _Worker] = {}
        self._starts = Starts()

    def start(self, place: int) -> None:
        """Begin a process; it is ready when it says so."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            try:
                process = subprocess.Popen(
                    [
                        sys.executable,
                        "-c",
                        f"from dfprompt.executor.worker import main; main({theirs.fileno()})",
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # what a library prints is no result
                    env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **self.environments[place]},
                    start_new_session=True,  # Ctrl-C is the driver's
                )
            except OSError as error:
                raise ExecutorError(f"cannot start a worker: {error.strerror}; ask for fewer") from error
            connection = Connection(ours.detach())
        connection.send_bytes(pickle.dumps(sys.path))
        self._workers[place] = _Worker(process, connection)

    def give(self, place: int, fn: Callable[[Any], Any], item: Any) -> None:
        """Send an item."""
        message = self.dumps((fn, item))
        with contextlib.suppress(OSError):  # it is gone: waiting for it says so
            self._workers[place].connection.send_bytes(message)

    def ready(self, place: int) -> bool:
        """Return whether a process takes items."""
        return place in self._workers and self._workers[place].ready

    def wait(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        """Return the answers and losses of the next moment in which there are any."""
        places = {worker.connection: place for place, worker in self._workers.items()}
        came: list[tuple[int, Answer | Lost]] = []
        for each in wait(list(places), seconds):
            assert isinstance(each, Connection)
            place = places[each]
            try:
                message = each.recv_bytes()
            except (EOFError, OSError):
                came.append((place, Lost(self._mourn(place))))
                continue
            if message == READY:
                self._workers[place].ready = True
            else:
                self._starts.came_up()
                came.append((place, pickle.loads(message)))
        return came

    def end(self, place: int) -> None:
        """Kill a process."""
        if (worker := self._workers.pop(place, None)) is not None:
            worker.connection.close()
            with contextlib.suppress(ProcessLookupError):
                worker.process.kill()
            worker.process.wait()

    def close(self) -> None:
        """Kill all."""
        for place in list(self._workers):
            self.end(place)

    def _mourn(self, place: int) -> str:
        """Return how a process ended, as a clause."""
        worker = self._workers.pop(place)
        worker.connection.close()
        code = worker.process.wait()
        if code == OUT_OF_MEMORY:
            reason = "ran out of memory"
        elif code == -signal.SIGKILL:
            reason = "was killed (signal 9), as the system does where memory runs out"
        else:
            reason = f"ended with signal {-code}" if code < 0 else f"ended with exit code {code}"
        if not worker.ready:
            self._starts.lost_early(reason)
        return reason
