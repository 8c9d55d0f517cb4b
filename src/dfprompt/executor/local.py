"""The executor of one machine: inline, or a few threads."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TypeVar

from dfprompt.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")


class LocalExecutor:
    """Maps in this process: one item after another, or `workers` threads that keep the order.

    Threads help where the work waits for files or releases the interpreter lock (decoding pictures);
    the renderer on one device wants `workers=1`.

    >>> list(LocalExecutor().map(abs, [-1, 2]))
    [1, 2]
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise ConfigError(f"workers must be 1 or more, got {workers}")
        self.workers = workers
        self._closed = False
        self._pool: ThreadPoolExecutor | None = None

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results of `fn` for each item, in order; at most 2 x workers items are drawn ahead."""
        self._refuse_if_closed()
        return self._inline(fn, items) if self.workers == 1 else self._threaded(fn, items)

    def _inline(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        for item in items:
            self._refuse_if_closed()
            yield fn(item)

    def _threaded(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="dfprompt")
        stream = iter(items)
        running: deque[Future[R]] = deque()
        try:
            for item in itertools.islice(stream, 2 * self.workers):
                running.append(self._pool.submit(fn, item))
            while running:
                yield running.popleft().result()
                self._refuse_if_closed()
                for item in itertools.islice(stream, 1):
                    running.append(self._pool.submit(fn, item))
        finally:
            for waiting in running:
                waiting.cancel()

    def close(self) -> None:
        """Wait for what is running, drop what is waiting, and refuse further work."""
        self._closed = True
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ConfigError("this executor is closed; make a new LocalExecutor")
