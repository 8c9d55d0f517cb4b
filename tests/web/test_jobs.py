"""The queue: one job at a time, cancelled in order, failures told, every page told everything."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from dfprompt.errors import GenerationError, InputError
from dfprompt.web.jobs import MOST_WAITING, Job, Jobs


def watch_until(jobs: Jobs, started: Any, number: int) -> list[dict[str, Any]]:
    """Call `started`, and return every event until job `number` has ended."""

    async def run() -> list[dict[str, Any]]:
        seen: list[dict[str, Any]] = []
        async for event in jobs.watch():
            assert event is not None
            seen.append(event)
            if len(seen) == 1:
                started()
            job = event.get("job", {})
            if job.get("id") == number and job["state"] not in ("waiting", "running"):
                return seen
        return seen

    return asyncio.run(asyncio.wait_for(run(), 20))


def started() -> Jobs:
    jobs = Jobs()
    jobs.start()
    return jobs


def test_jobs_run_one_after_the_other_and_are_told() -> None:
    jobs, running, most = started(), [], []

    def work(job: Job) -> int:
        running.append(job.id)
        most.append(len(running))
        job.report(1, 2)
        job.report(2, 2)
        running.remove(job.id)
        return job.id * 10

    events = watch_until(jobs, lambda: [jobs.submit("count", f"number {n}", work) for n in range(3)], 3)
    told = [(event["job"]["id"], event["job"]["state"]) for event in events[1:]]
    assert most == [1, 1, 1]
    assert [state for number, state in told if number == 1][:2] == ["waiting", "running"]
    assert events[-1]["job"]["result"] == 30
    assert [event["job"]["done"] for event in events[1:] if event["job"]["id"] == 2][-1] == 2
    jobs.stop()


def test_cancelling_ends_what_runs_at_its_next_report_and_what_waits_at_once() -> None:
    jobs, inside, go = started(), threading.Event(), threading.Event()

    def work(job: Job) -> None:
        inside.set()
        assert go.wait(10)
        job.report(1, 2)
        pytest.fail("a cancelled job went on")

    first, second = (jobs.submit("draw", "x", work) for _ in range(2))
    assert inside.wait(10)
    assert jobs.cancel(second.id).state == "cancelled"
    jobs.cancel(first.id)
    assert first.state == "running"
    events = watch_until(jobs, go.set, first.id)
    assert events[-1]["job"]["state"] == "cancelled"
    jobs.stop()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (GenerationError("out of memory at 1 picture"), "out of memory at 1 picture"),
        (MemoryError(), "out of"),
    ],
)
def test_a_failure_is_told_and_the_queue_goes_on(error: Exception, said: str) -> None:
    jobs = started()

    def fail(job: Job) -> None:
        raise error

    events = watch_until(
        jobs, lambda: [jobs.submit("draw", "x", fail), jobs.submit("draw", "y", lambda job: "fine")], 2
    )
    failed = next(event["job"] for event in events[1:] if event["job"]["state"] == "failed")
    assert failed["message"].startswith(said)
    assert events[-1]["job"]["result"] == "fine"
    jobs.stop()


def test_two_pages_hear_the_same_and_a_late_one_hears_how_things_stand() -> None:
    jobs = started()
    first = watch_until(jobs, lambda: jobs.submit("a", "a", lambda job: 1), 1)

    async def look() -> dict[str, Any]:
        async for event in jobs.watch():
            assert event is not None
            return event
        raise AssertionError

    late = asyncio.run(look())
    assert late["jobs"][0] == first[-1]["job"]
    jobs.stop()


def test_too_many_jobs_and_unknown_ones_are_refused() -> None:
    jobs = Jobs()  # not started: everything waits
    for _ in range(MOST_WAITING):
        jobs.submit("draw", "x", lambda job: None)
    with pytest.raises(InputError, match="waiting already"):
        jobs.submit("draw", "x", lambda job: None)
    with pytest.raises(InputError, match="no job 999"):
        jobs.cancel(999)
