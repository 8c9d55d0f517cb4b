"""Workers against one process: pictures per second, memory of the driver, many small items, and kills.

python benchmarks/bench_scale.py     all of it: an idle machine with two cores, about 20 minutes
python benchmarks/bench_scale.py --kills 2 --pictures 64 --items 2000 --stubs 5000 --only speed memory

Goals: 2 workers >= 1.7 x one process and >= 0.95 x two processes that know nothing of each other, one thread
each; memory of the driver the same after 10,000 items as after 1,000; 100,000 stub items in 3 minutes; 20
kills at random moments and not one other bit.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from operator import neg
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from dfprompt.executor.opening import opened
from machine import header
from same_numbers import COMMANDS, prepare, read_numbers
from worker_kills import one_killed

ON = ("processes", "ray")
_SUFFIX = ["--methods", "plain,suffix", "--suffix", "film grain", "--validation-images", "0"]


def _scale(on: str) -> dict[str, object]:
    return {"workers": 2, **({"ray": "auto"} if on == "ray" else {})}


@contextmanager
def cluster(wanted: bool) -> Iterator[None]:
    """A Ray cluster for the whole run: starting one is no part of what is measured."""
    if not wanted:
        yield
        return
    import ray

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, object_store_memory=80_000_000, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def speed(asked: argparse.Namespace) -> bool:
    """Pictures per second of the loop alone: from the first row written down to the last one."""
    seeds = asked.pictures // 8
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        prompts = folder / "prompts.txt"
        prompts.write_text("a red cat on a hill\na blue boat\na green star\na yellow house\n")

        def command(name: str, *more: str) -> subprocess.Popen[bytes]:
            words = ["evaluate", "--prompts", str(prompts), "--seeds", str(seeds), *_SUFFIX]
            words += ["--output", str(folder / name), *more]
            return subprocess.Popen([sys.executable, "-m", "dfprompt", *words], stderr=-3, stdout=-3)

        def rate(*names: str) -> float:
            """Rows per second between the first and the last batch of all folders together."""
            times, counts = [], []
            waiting = {name: folder / name / "rows.jsonl" for name in names}
            processes = [command(name, *extra[name]) for name in names]
            seen = dict.fromkeys(names, 0)
            while any(each.poll() is None for each in processes):
                for name, path in waiting.items():
                    rows = path.read_bytes().count(b"\n") - 1 if path.exists() else 0
                    if rows > seen[name]:
                        seen[name] = rows
                        times.append(time.monotonic())
                        counts.append(sum(seen.values()))
                time.sleep(0.02)
            if any(each.returncode for each in processes):
                raise SystemExit(f"{names}: a run failed")
            return (counts[-1] - counts[0]) / (times[-1] - times[0])

        extra = {"one": (), "a": (), "b": ()}
        extra |= {f"two-{on}": ("--workers", "2") for on in asked.on if on == "processes"}
        extra |= {f"two-{on}": ("--workers", "2", "--ray", "local") for on in asked.on if on == "ray"}
        one, apart = rate("one"), rate("a", "b")
        print(f"  one process {one:.2f} pictures/s; two on their own {apart:.2f} together")
        good = True
        for on in asked.on:
            both = rate(f"two-{on}")
            good &= both / one >= 1.7 and both / apart >= 0.95
            ratios = f"{both / one:.2f} x one, {both / apart:.2f} x two on their own"
            print(f"  2 workers, {on}: {both:.2f}; {ratios}")
    return good


def memory(asked: argparse.Namespace) -> bool:
    """The most memory the driver took, after a tenth of the items and after all."""
    good = True
    for on in asked.on:
        with opened(**_scale(on)) as executor:  # type: ignore[arg-type]
            results = executor.map(neg, iter(range(asked.items)))
            for _ in range(asked.items // 10):
                next(results)
            early = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            for _ in results:
                pass
        late = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        good &= late <= early * 1.02
        print(
            f"  {on}: {early / 1024:.0f} MB after {asked.items // 10} items, {late / 1024:.0f} MB after all"
        )
    return good


def stubs(asked: argparse.Namespace) -> bool:
    """Many items that take no time: what handing them out costs."""
    good = True
    for on in asked.on:
        with opened(**_scale(on)) as executor:  # type: ignore[arg-type]
            next(iter(executor.map(neg, [1])))
            started, busy = time.monotonic(), time.process_time()
            count = sum(1 for _ in executor.map(neg, range(asked.stubs)))
            took, busy = time.monotonic() - started, time.process_time() - busy
        good &= took / count * 100_000 < 180
        print(
            f"  {on}: {count} items in {took:.1f} s, {took / count * 100_000:.0f} s for 100,000; "
            f"{busy / count * 1e3:.2f} ms of the driver's processor each"
        )
    return good


def kills(asked: argparse.Namespace) -> bool:
    """Runs of which one worker is killed at a random moment, against the run in this process."""
    wrong = done = 0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        inputs, expected = prepare(folder / "in"), {}
        for number in range(asked.kills):
            name, on = (
                list(COMMANDS)[number % len(COMMANDS)],
                asked.on[number // len(COMMANDS) % len(asked.on)],
            )
            if name not in expected:
                COMMANDS[name](inputs, folder / name, {})
                expected[name] = read_numbers(folder / name)
            output = folder / f"{name}-{number}"
            with one_killed(number, within=asked.within) as killed:
                COMMANDS[name](inputs, output, _scale(on))
            same = read_numbers(output) == expected[name]
            done, wrong = done + len(killed), wrong + (not same)
            print(f"  {number}: {name} on {on}, killed {killed}: {'the same' if same else 'ANOTHER RESULT'}")
    print(f"  {done} kills in {asked.kills} runs, {wrong} with another result")
    return wrong == 0


PARTS: dict[str, Callable[[argparse.Namespace], bool]] = {
    "speed": speed,
    "memory": memory,
    "stubs": stubs,
    "kills": kills,
}


def main() -> None:
    """Run the parts asked for; exits with 1 where a goal is missed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--on", nargs="+", choices=ON, default=list(ON))
    parser.add_argument("--pictures", type=int, default=1024)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--stubs", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--within", type=float, default=15.0, help="seconds until a kill")
    asked = parser.parse_args()
    print(header("Workers against one process"))
    reached = []
    for name in asked.only:
        print(f"{name}: {(PARTS[name].__doc__ or '').splitlines()[0]}")
        with cluster("ray" in asked.on and name != "speed"):
            reached.append(PARTS[name](asked))
        print(f"  {'goals reached' if reached[-1] else 'GOAL MISSED'}")
    sys.exit(not all(reached))


if __name__ == "__main__":
    main()
