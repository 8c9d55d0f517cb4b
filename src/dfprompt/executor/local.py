"""Here and now: one item after another in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from dfprompt.errors import ConfigError

T = TypeVar("T")
R = TypeVar("R")


class LocalExecutor:
    """Maps in this process, one item after another; the next is drawn when its result is asked for.

    >>> list(LocalExecutor().map(abs, [-1, 2]))
    [1, 2]
    """

    def __init__(self) -> None:
        self._closed = False

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results of `fn` for each item, in order; raises ConfigError once it is closed."""
        self._refuse_if_closed()
        return self._mapped(fn, items)

    def _mapped(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        for item in items:
            self._refuse_if_closed()
            yield fn(item)

    def close(self) -> None:
        """Refuse further work."""
        self._closed = True

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ConfigError("this executor is closed; make a new LocalExecutor")
