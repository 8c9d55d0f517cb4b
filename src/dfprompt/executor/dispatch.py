"""One queue before many workers: results in order, a bounded number ahead, lost work given to others.

A crew knows how to start a worker in a place, give it work, wait for answers and end it; what is done with
the answers is here, once for every kind of crew.
"""

from __future__ import annotations

import itertools
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from dfprompt.errors import ConfigError, DFPromptError, DFPromptWarning, ExecutorError, WorkerLostError
from dfprompt.executor.answers import Answer, Lost
from dfprompt.executor.protocol import Work

T = TypeVar("T")
R = TypeVar("R")

AT_WORK = 2  # items a worker has at a time: the next one is there when it answers
LOSSES = 3  # workers that one item may cost
_LOOK = 1.0  # seconds between looks at the clock
NO_WORKER = 600.0  # seconds without a single one: processes start slowly, machines come and go


class Crew(Protocol):
    """Workers in numbered places, at the most `size`; each answers in the order it was given work."""

    size: int

    def start(self, place: int) -> None:
        """Begin a worker in a place; raises ExecutorError where none can ever be had."""
        ...

    def ready(self, place: int) -> bool:
        """Return whether the worker in a place takes items."""
        ...

    def give(self, place: int, fn: Callable[[Any], Any], item: Any) -> None:
        """Hand an item to a worker that is ready. One that is gone says so when it is waited for."""
        ...

    def wait(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        """Return what came in; an empty list after so many seconds. Raises ExecutorError if all is lost."""
        ...

    def end(self, place: int) -> None:
        """End a worker, whatever it does."""
        ...

    def close(self) -> None:
        """End all workers."""
        ...


class _Task:
    """An item on its way: what came of it, what it has cost, and its parts if it was cut."""

    def __init__(self, fn: Callable[[Any], Any], item: Any, *, is_part: bool = False) -> None:
        self.fn, self.item, self.is_part = fn, item, is_part
        self.losses, self.dropped = 0, False
        self.parts: list[_Task] = []
        self.answer: Answer | None = None

    def settle(self) -> Answer | None:
        """Return the answer, put together from the parts' where it was cut; None while one is missing."""
        if self.answer is None and self.parts:
            answers = [part.settle() for part in self.parts]
            known = [each for each in answers if each is not None]
            failed = next((each for each in known if each.error is not None), None)
            if failed is not None:
                self.answer = failed
                self.drop()
            elif len(known) == len(answers):
                assert isinstance(self.fn, Work)
                self.answer = Answer(self.fn.join([each.result for each in known]))
        return self.answer

    def drop(self) -> None:
        """Let nobody begin it any more."""
        self.dropped = True
        for part in self.parts:
            part.drop()

    def cut(self, reason: str) -> list[_Task]:
        """Return the parts to try in its place; where it cannot be cut, it is answered for, and none."""
        parts = _split(self)
        if len(parts) > 1:
            self.parts = [_Task(self.fn, part, is_part=True) for part in parts]
        else:
            self.answer = _answer_for(self, reason)
        return self.parts


def _split(task: _Task) -> list[Any]:
    return list(task.fn.split(task.item)) if isinstance(task.fn, Work) else [task.item]


def _answer_for(task: _Task, reason: str) -> Answer:
    told = f"{task.losses} workers were lost on it; the last one {reason}"
    if not isinstance(task.fn, Work):
        return Answer(error=WorkerLostError(told))
    try:
        return Answer(task.fn.lost(task.item, told))
    except DFPromptError as error:
        return Answer(error=error)


class CrewExecutor:
    """Maps over a crew's workers. `timeout` seconds without an answer and a worker is replaced; 0: never.

    An item whose worker is lost goes to the next free one. After three losses a batch is cut (`Work.split`),
    and an item that cannot be cut is answered for (`Work.lost`), or raises WorkerLostError at its place.
    """

    def __init__(self, crew: Crew, *, timeout: float = 0.0) -> None:
        self.crew, self.timeout = crew, timeout
        self._queue: deque[_Task] = deque()
        self._given: list[deque[_Task]] = [deque() for _ in range(crew.size)]
        self._since = [0.0] * crew.size
        self._seen = 0.0  # when a worker was ready last
        self._begun = self._closed = False
        self.lost = 0  # workers, so far

    @property
    def size(self) -> int:
        """How many work at a time."""
        return self.crew.size

    def map(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """The results of `fn` for each item, in order; raises ConfigError once it is closed."""
        self._refuse_if_closed()
        return self._mapped(fn, items)

    def close(self) -> None:
        """End the workers, drop what waits."""
        if not self._closed:
            self._closed = True
            self._queue.clear()
            self.crew.close()

    def _mapped(self, fn: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        stream, mine = iter(items), deque[_Task]()
        try:
            self._refuse_if_closed()
            self._begin()
            while True:
                for item in itertools.islice(stream, max(0, (AT_WORK + 1) * self.crew.size - len(mine))):
                    mine.append(_Task(fn, item))
                    self._queue.append(mine[-1])
                if not mine:
                    return
                yield self._finish(mine[0])
                mine.popleft()
                self._refuse_if_closed()
        finally:
            for task in mine:
                task.drop()

    def _finish(self, task: _Task) -> Any:
        while (answer := task.settle()) is None:
            self._refuse_if_closed()
            self._hand_out()
            for place, came in self.crew.wait(_LOOK):
                self._take(place, came)
            self._look_at_clock()
        self._hand_out()  # nobody waits while the caller is busy with the result
        for message in answer.said:
            warnings.warn(message, DFPromptWarning, stacklevel=4)
        if answer.error is not None:
            raise answer.error
        return task.fn.receive(answer.result) if isinstance(task.fn, Work) else answer.result

    def _begin(self) -> None:
        if not self._begun:
            for place in range(self.crew.size):
                self.crew.start(place)
            self._begun, self._seen = True, time.monotonic()

    def _hand_out(self) -> None:
        """Give queued items to free workers, everyone one before anyone two."""
        for depth in range(1, AT_WORK + 1):
            for place, given in enumerate(self._given):
                while len(given) < depth and self.crew.ready(place) and (task := self._next()) is not None:
                    if not given:
                        self._since[place] = time.monotonic()
                    given.append(task)
                    self.crew.give(place, task.fn, task.item)

    def _next(self) -> _Task | None:
        while self._queue:
            if not (task := self._queue.popleft()).dropped:
                return task
        return None

    def _take(self, place: int, came: Answer | Lost) -> None:
        if isinstance(came, Lost):
            self._lose(place, came.reason)
            return
        self._given[place].popleft().answer = came
        self._since[place] = time.monotonic()

    def _lose(self, place: int, reason: str) -> None:
        """Replace a worker: what it was at counts a loss, what only waited there does not."""
        self.lost += 1
        given, self._given[place] = list(self._given[place]), deque()
        back = given[1:]
        if given:
            first = given[0]
            first.losses += 1
            # A part of a batch that was cut is cut on at once: somewhere in it is what ends workers.
            most = 1 if first.is_part and len(_split(first)) > 1 else LOSSES
            if not first.dropped:
                back = [*([first] if first.losses < most else first.cut(reason)), *back]
        self._queue.extendleft(reversed(back))
        self.crew.start(place)

    def _look_at_clock(self) -> None:
        now = time.monotonic()
        if any(map(self.crew.ready, range(self.crew.size))):
            self._seen = now
        elif now - self._seen > NO_WORKER:
            raise ExecutorError(f"no worker has come up in {NO_WORKER:.0f} s; are the machines there?")
        if self.timeout:
            for place, given in enumerate(self._given):
                if given and now - self._since[place] > self.timeout:
                    self.crew.end(place)
                    self._lose(place, f"gave no answer in {self.timeout:g} s and was ended")

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise ConfigError("this executor is closed; make a new one")

    def __enter__(self) -> CrewExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Starts:
    """Counts workers that ended before they could do anything: after a few in a row no more are started."""

    most = 3

    def __init__(self) -> None:
        self.failed = 0

    def lost_early(self, reason: str) -> None:
        """Count one; raises ExecutorError where it is one too many."""
        self.failed += 1
        if self.failed >= self.most:
            raise ExecutorError(f"workers do not start: {self.failed} ended at once; the last {reason}")

    def came_up(self) -> None:
        """Begin to count anew."""
        self.failed = 0
