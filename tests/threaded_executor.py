"""An executor of a few threads: a second implementation, so that the contract is not that of one."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from dfprompt.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")


class ThreadedExecutor:
    """Maps over `workers` threads, at most twice as many items drawn ahead, and keeps the order."""

    def __init__(self, workers: int) -> None:
        self.workers, self.closed = workers, False
        self.pool = ThreadPoolExecutor(workers)

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results in the order of the items."""
        self._refuse_if_closed()
        return self._mapped(fn, items)

    def _mapped(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        stream, running = iter(items), deque[Future[R]]()
        try:
            for item in itertools.islice(stream, 2 * self.workers):
                running.append(self.pool.submit(fn, item))
            while running:
                yield running.popleft().result()
                self._refuse_if_closed()
                for item in itertools.islice(stream, 1):
                    running.append(self.pool.submit(fn, item))
        finally:
            for waiting in running:
                waiting.cancel()

    def close(self) -> None:
        """End what runs, drop what waits."""
        self.closed = True
        self.pool.shutdown(wait=True, cancel_futures=True)

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise ConfigError("this executor is closed")
