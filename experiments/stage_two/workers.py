"""Several long jobs side by side, each in a process of its own with its share of the cores.

Small models leave most of a second core idle; two trainings on two cores take little longer than one.
What a job makes lies in its folder, and it goes on there when it is run again.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from dfprompt.errors import DFPromptError, TrainingError

Note = Callable[[str], None]
Job = Callable[[Note], Path]


def run_jobs(jobs: Mapping[str, Job], processes: int, note: Note) -> dict[str, Path]:
    """Run named jobs, `processes` at a time; returns what each returned, in the jobs' order.

    Jobs are picklable (functools.partial of a function of a module). One that fails does not stop the others;
    at the end TrainingError names every one that failed and why.
    """
    note(f"{len(jobs)} jobs, {processes} at a time; each keeps its own log in its folder: {', '.join(jobs)}")
    found: dict[str, Path] = {}
    failed: dict[str, str] = {}
    # A fork would copy a process whose threads are at work; a fresh one has none.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        processes, mp_context=context, initializer=_share_cores, initargs=(processes,)
    ) as pool:
        futures = {pool.submit(_run, job): name for name, job in jobs.items()}
        try:
            for future in as_completed(futures):
                name = futures[future]
                path, error, said = future.result()
                for line in said:
                    note(f"{name}: {line}")
                if path is None:
                    failed[name] = error
                else:
                    found[name] = path
                outcome = "failed" if path is None else "done"
                note(f"{name}: {outcome}, {len(found) + len(failed)} of {len(jobs)}")
        except BrokenProcessPool as error:
            raise TrainingError(
                f"a job's process died (out of memory?) after {len(found)} of {len(jobs)}; "
                "the same command goes on where they were"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if failed:
        raise TrainingError("; ".join(f"{name}: {why}" for name, why in failed.items()))
    return {name: found[name] for name in jobs}


def _share_cores(processes: int) -> None:
    """Its share, and no more threads than were asked for; said before torch is imported, which reads it."""
    cores = os.cpu_count() or 1
    asked = int(os.environ.get("OMP_NUM_THREADS") or cores)
    os.environ["OMP_NUM_THREADS"] = str(max(1, min(asked, cores // processes)))


def _run(job: Job) -> tuple[Path | None, str, list[str]]:
    said: list[str] = []
    try:
        return job(said.append), "", said
    except DFPromptError as error:
        return None, str(error), said
