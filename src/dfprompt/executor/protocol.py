"""The one thing training asks of an engine, and functions that a worker builds for itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable
from uuid import uuid4

from dfprompt.errors import WorkerLostError

T = TypeVar("T")
R = TypeVar("R")


@runtime_checkable
class Executor(Protocol):
    """Runs a function over items: here, in processes of this machine, on a Ray cluster.

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


class Work(ABC, Generic[T, R]):
    """A function of plain values that each process builds once, such as a pipeline with its scores.

    Instances are small and travel to the workers; what one builds serves all its items in that process. What
    becomes of a lost worker's item is said here too: `split` cuts a batch whose workers were lost three
    times, `join` puts its parts' results together, `lost` answers for what cannot be cut further.
    `receive` is called with every result where it was asked for.
    """

    def __init__(self) -> None:
        self._token = uuid4().hex
        self._kept: list[tuple[str, Any]] | None = []  # None once it has travelled: the process keeps it

    @abstractmethod
    def build(self) -> Any:
        """Return what items are worked on with; called in the process that works."""

    @abstractmethod
    def work(self, built: Any, item: T) -> R:
        """Return the result of an item."""

    def split(self, item: T) -> Sequence[T]:
        """Return smaller items that make up this one; the item alone if it cannot be cut."""
        return [item]

    def join(self, results: Sequence[R]) -> R:
        """Return the result of an item from those of its parts."""
        (only,) = results
        return only

    def lost(self, item: T, reason: str) -> R:
        """Return what stands for an item that ended its workers; raises WorkerLostError otherwise."""
        raise WorkerLostError(reason)

    def receive(self, result: R) -> Any:
        """Return what whoever maps this gets of a result."""
        return result

    def __call__(self, item: T) -> Any:
        """The result of an item, here; what it takes is built on the first call."""
        kept = _BUILT if self._kept is None else self._kept
        if not kept or kept[0][0] != self._token:
            kept.clear()
            kept.append((self._token, self.build()))
        result = self.work(kept[0][1], item)
        return result if self._kept is None else self.receive(result)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None}


_BUILT: list[tuple[str, Any]] = []  # of a worker: one thing at most, for it may fill a GPU
