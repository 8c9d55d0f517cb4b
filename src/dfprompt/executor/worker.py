"""A worker process: it answers what comes in over an open socket."""

from __future__ import annotations

import os
import pickle
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue

from dfprompt.executor.answers import compute_answer

READY = b"ready"
OUT_OF_MEMORY = 71  # the exit code of a worker whose memory is spent


def serve(connection: Connection) -> None:
    """Answer items one after another, and end at once where whoever asks is gone."""
    waiting: SimpleQueue[bytes] = SimpleQueue()

    def listen() -> None:
        try:
            while True:
                waiting.put(connection.recv_bytes())
        except (EOFError, OSError):
            os._exit(0)

    sys.path[:] = pickle.loads(connection.recv_bytes())
    connection.send_bytes(READY)
    threading.Thread(target=listen, daemon=True).start()
    while True:
        message = waiting.get()
        try:
            answer = compute_answer(message)
        except MemoryError:
            os._exit(OUT_OF_MEMORY)
        connection.send_bytes(answer)


def main(descriptor: int) -> None:
    """Run a worker on an open socket."""
    os.set_inheritable(descriptor, False)
    serve(Connection(descriptor))
