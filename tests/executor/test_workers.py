"""Workers that are lost: what they were at goes to others, and what ends every worker is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import neg
from pathlib import Path

import pytest

from dfprompt.errors import ConfigError, DFPromptWarning, ExecutorError, WorkerLostError
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.executor.opening import opened, place_gpus
from dfprompt.executor.processes import ProcessCrew
from light_works import GREED, HANG, POISON, Doubling, slowly, unpicklable, warn_twice
from worker_kills import one_killed

Make = Callable[..., CrewExecutor]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[CrewExecutor] = []

    def one(workers: int = 2, *, timeout: float = 0.0, environments: list[dict[str, str]] | None = None):
        made.append(CrewExecutor(ProcessCrew(workers, environments or []), timeout=timeout))
        return made[-1]

    yield one
    for executor in made:
        executor.close()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.few(1)
def test_a_killed_worker_changes_nothing(make: Make, seed: int) -> None:
    executor = make()
    with one_killed(seed, within=0.5) as killed:
        assert list(executor.map(slowly, range(40))) == [2 * each for each in range(40)]
    assert killed
    assert executor.lost == 1


def test_every_worker_builds_once(make: Make, tmp_path: Path) -> None:
    executor, work = make(), Doubling(tmp_path)
    assert list(executor.map(work, range(30))) == list(range(0, 60, 2))
    assert list(executor.map(work, range(30))) == list(range(0, 60, 2))
    assert 1 <= len(list(tmp_path.iterdir())) <= 2


def test_a_poisoned_item_is_named_and_its_batch_is_saved(make: Make) -> None:
    batches = [[1, 2, 3, 4], [5, POISON, 7, 8], [9, 10]]
    first, second, third = make().map(Doubling(named=True), batches)
    assert (first, third) == ([2, 4, 6, 8], [18, 20])
    assert (second[0], second[2:]) == (10, [14, 16])
    assert second[1].startswith("poison: 3 workers were lost on it; the last one was killed (signal 9)")


def test_where_nothing_stands_for_it_the_item_raises_at_its_place(make: Make) -> None:
    results = make().map(Doubling(), [[1], [POISON], [2]])
    assert next(results) == [2]
    with pytest.raises(WorkerLostError, match="3 workers were lost"):
        next(results)


def test_a_worker_that_hangs_is_replaced(make: Make) -> None:
    started = time.monotonic()
    (told,) = make(timeout=0.5).map(Doubling(named=True), [[HANG]])
    assert told[0].endswith("gave no answer in 0.5 s and was ended")
    assert time.monotonic() - started < 60


def test_a_worker_out_of_memory_is_replaced(make: Make) -> None:
    first, second = make(1).map(Doubling(named=True), [[GREED], [4]])
    assert first[0].endswith("ran out of memory")
    assert second == [8]


def test_warnings_for_the_user_arrive_once(make: Make) -> None:
    with pytest.warns(DFPromptWarning) as said:
        assert list(make(1).map(warn_twice, ["it"])) == ["it"]
    assert [str(each.message) for each in said] == ["it is odd"]


def test_what_cannot_travel_is_said(make: Make) -> None:
    with pytest.raises(ExecutorError, match="cannot travel"):
        list(make(1).map(unpicklable, [1]))


def test_a_foreign_error_keeps_its_kind_and_says_where_it_was(make: Make) -> None:
    with pytest.raises(TypeError) as caught:
        list(make(1).map(neg, ["x"]))
    assert "in a worker" in "".join(caught.value.__notes__)


def test_workers_that_cannot_start_are_an_error(make: Make, tmp_path: Path) -> None:
    (tmp_path / "dfprompt.py").write_text("raise SystemExit(7)\n")
    broken = {"PYTHONPATH": str(tmp_path)}
    with pytest.raises(ExecutorError, match=r"workers do not start: 3 ended at once; .*exit code 7"):
        list(make(1, environments=[broken]).map(neg, [1]))


def test_workers_end_with_their_driver() -> None:
    code = (
        "from dfprompt.executor.opening import opened; from light_works import Doubling, HANG\n"
        "import sys\n"
        "with opened(workers=2, timeout=0) as executor:\n"
        "    results = executor.map(Doubling(), [[1], [HANG], [HANG]])\n"
        "    print(next(results), *executor.crew._workers and\n"
        "          [each.process.pid for each in executor.crew._workers.values()], flush=True)\n"
        "    next(results)\n"
    )
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    driver = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert driver.stdout is not None
    with driver.stdout:
        workers = [int(each) for each in driver.stdout.readline().split()[1:]]
        assert len(workers) == 2
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    deadline = time.monotonic() + 30
    while any(_alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlive their driver"
        time.sleep(0.05)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_gpus_are_dealt_out_or_refused() -> None:
    assert place_gpus(2, 2, ["0", "1", "4", "5"]) == [
        {"CUDA_VISIBLE_DEVICES": "0,1"},
        {"CUDA_VISIBLE_DEVICES": "4,5"},
    ]
    assert place_gpus(2, 0, []) == [{}, {}]
    with pytest.raises(ConfigError, match=r"3 workers with 1 GPUs each .* has 2, room for 2"):
        place_gpus(3, 1, ["0", "1"])
    with pytest.raises(ConfigError, match="whole number or a share"):
        place_gpus(1, 1.5, ["0", "1"])


def test_importing_dfprompt_imports_no_ray() -> None:
    code = "import sys, dfprompt.executor, dfprompt.api, dfprompt.cli.main; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_the_extra_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"needs the extra ray: pip install 'dfprompt\[ray\]'"):
        opened(ray="local").__enter__()
