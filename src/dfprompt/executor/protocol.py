"""The one thing training asks of an engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Executor(Protocol):
    """Runs a function over items: locally now, on other machines with an engine behind it.

    Every implementation keeps this contract:
    results come in the order of the items, whatever finishes first;
    items are drawn as they are needed, a bounded number ahead, so that an endless stream can be mapped;
    the first failing item's own exception is raised at its place, after the results before it;
    `close` ends what is running and may be called twice; a closed executor maps nothing more.
    """

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results of `fn` for each item, in order."""
        ...

    def close(self) -> None:
        """Release workers; a second call does nothing."""
        ...
