"""Work that takes its time: one job after the other in one thread, watched by every open page."""

from __future__ import annotations

import asyncio
import itertools
import json
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from dfprompt.errors import InputError
from dfprompt.web.server import describe_fault

State = Literal["waiting", "running", "done", "failed", "cancelled"]
MOST_WAITING = 100
_KEPT = 50  # finished jobs that pages are still told of
_BEAT = 15.0  # seconds between signs of life, so that a page that left is noticed
_PAUSE = 0.05  # seconds between two reports of progress


class Cancelled(Exception):
    """Somebody wants this job to end; raised inside it by `Job.report`."""


class QueueFull(InputError):
    """Too much waits already."""


@dataclass(eq=False)
class Job:
    """One piece of work: what it is, how far it is, and what came of it.

    `work` gets the job, calls `report` as it goes, and returns what pages are told in the end.
    """

    id: int
    kind: str
    title: str
    work: Callable[[Job], Any]
    publish: Callable[[dict[str, Any]], None]
    state: State = "waiting"
    done: int = 0
    total: int = 0
    message: str = ""
    result: Any = None
    notes: list[str] = field(default_factory=list)
    error: BaseException | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    ended: Future[None] = field(default_factory=Future)
    _told: float = 0.0

    def report(self, done: int, total: int) -> None:
        """Say how far the work is; raises Cancelled where somebody wants it to end."""
        if self.cancelled.is_set():
            raise Cancelled
        self.done, self.total = done, total
        if time.monotonic() - self._told >= _PAUSE or done >= total:
            self._told = time.monotonic()
            self.tell()

    def tell(self) -> None:
        """Tell every page how the job stands."""
        self.publish({"type": "job", "job": self.to_json()})

    def to_json(self) -> dict[str, Any]:
        """Return id, kind, title, state, done, total, message, notes, result."""
        names = ("id", "kind", "title", "state", "done", "total", "message", "notes", "result")
        return {name: getattr(self, name) for name in names}


def _end(job: Job) -> None:
    """Tell how a job ended, once."""
    job.tell()
    if not job.ended.done():
        job.ended.set_result(None)


async def _left(request: Request) -> None:
    """Return when whoever sent a request has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


class Jobs:
    """A queue of jobs and the thread that works through it; events go to everyone who watches.

    >>> jobs = Jobs()
    >>> jobs.submit("count", "to two", lambda job: 1 + 1).state
    'waiting'
    """

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self._waiting: queue.Queue[Job | None] = queue.Queue()
        self._jobs: dict[int, Job] = {}
        self._lock = threading.Lock()
        self._watchers: set[tuple[asyncio.AbstractEventLoop, asyncio.Queue[dict[str, Any] | None]]] = set()
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """Cancel what runs and waits, and wait a moment for the thread; ends every watch."""
        for job in self._listed():
            if job.state in ("waiting", "running"):
                self.cancel(job.id)
        self._waiting.put(None)
        self._send(None)
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def submit(self, kind: str, title: str, work: Callable[[Job], Any]) -> Job:
        """Put work at the end of the queue; raises QueueFull where too much waits already."""
        if sum(job.state == "waiting" for job in self._listed()) >= MOST_WAITING:
            raise QueueFull(f"{MOST_WAITING} jobs are waiting already; cancel some, or wait")
        job = Job(next(self._numbers), kind, title, work, self.publish)
        with self._lock:
            self._jobs[job.id] = job
        job.tell()
        self._waiting.put(job)
        return job

    def cancel(self, number: int) -> Job:
        """End a job that waits or runs; raises InputError where there is none of this number."""
        with self._lock:
            job = self._jobs.get(number)
        if job is None:
            raise InputError(f"there is no job {number}")
        job.cancelled.set()
        if job.state == "waiting":
            job.state = "cancelled"
            _end(job)
        return job

    async def wait(self, job: Job, request: Request) -> Job:
        """Return a job that has ended; whoever asked for it and leaves cancels it."""
        ended = asyncio.shield(asyncio.wrap_future(job.ended))
        left = asyncio.ensure_future(_left(request))
        await asyncio.wait({ended, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not job.ended.done():
            self.cancel(job.id)
        return job

    def unfinished(self) -> list[dict[str, Any]]:
        """Return the jobs that run and wait, in their order."""
        return [job.to_json() for job in self._listed() if job.state in ("waiting", "running")]

    def publish(self, event: dict[str, Any] | None) -> None:
        """Tell every page something, from any thread."""
        self._send(event)

    def _send(self, event: dict[str, Any] | None) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for loop, inbox in watchers:
            if not loop.is_closed():
                loop.call_soon_threadsafe(inbox.put_nowait, event)

    def _listed(self) -> list[Job]:
        with self._lock:
            return list(self._jobs.values())

    def _run(self) -> None:
        while (job := self._waiting.get()) is not None:
            if job.state == "waiting" and not job.cancelled.is_set():
                self._work(job)
            self._forget()

    def _work(self, job: Job) -> None:
        job.state = "running"
        job.tell()
        try:
            job.result = job.work(job)
            job.state = "done"
        except Cancelled:
            job.state = "cancelled"
        except BaseException as error:  # noqa: BLE001 - the queue goes on, and the page says what happened
            job.state, job.message, job.error = "failed", describe_fault(error), error
        _end(job)

    def _forget(self) -> None:
        with self._lock:
            finished = [job.id for job in self._jobs.values() if job.state not in ("waiting", "running")]
            for number in finished[:-_KEPT]:
                del self._jobs[number]

    async def watch(self) -> AsyncIterator[dict[str, Any] | None]:
        """Yield how things stand, then every event; None is a sign of life."""
        inbox: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        watcher = asyncio.get_running_loop(), inbox
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield {"type": "jobs", "jobs": [job.to_json() for job in self._listed()]}
            while True:
                try:
                    event = await asyncio.wait_for(inbox.get(), _BEAT)
                except TimeoutError:
                    yield None
                    continue
                if event is None:
                    return
                yield event
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    async def events(self, request: Request) -> Response:
        """Answer with server-sent events, one JSON object each."""
        return StreamingResponse(self._lines(), media_type="text/event-stream")

    async def _lines(self) -> AsyncIterator[str]:
        async for event in self.watch():
            yield ": \n\n" if event is None else f"data: {json.dumps(event)}\n\n"
