"""Workers on a Ray cluster: lost ones, too few of them, and a head that goes away."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dfprompt.errors import ConfigError, ExecutorError
from dfprompt.executor import on_ray
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.executor.on_ray import RayCrew
from light_works import POISON, Doubling, slowly
from worker_kills import one_killed

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_a_killed_worker_changes_nothing() -> None:
    with CrewExecutor(RayCrew(2)) as executor, one_killed(1, within=2) as killed:
        assert list(executor.map(slowly, range(100))) == [2 * each for each in range(100)]
    assert killed


def test_a_poisoned_item_is_named() -> None:
    with CrewExecutor(RayCrew(1)) as executor:
        first, second = executor.map(Doubling(named=True), [[1], [POISON]])
    assert first == [2]
    assert second[0].startswith("poison: 3 workers were lost on it; the last one was lost (ActorDiedError")


def test_what_the_cluster_cannot_give_is_said_at_once() -> None:
    started = time.monotonic()
    with pytest.raises(ExecutorError, match=r"3 workers with 1 CPU each .* room for 2 \(1 machines, 2 CPUs"):
        RayCrew(3)
    with pytest.raises(ExecutorError, match=r"1 workers with 1 CPU and 1 GPU each .* room for 0 .* 0 GPUs"):
        RayCrew(None, gpus=1)
    assert time.monotonic() - started < 30


def test_what_others_hold_is_said_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "FREE", 2)
    holding = RayCrew(2)
    try:
        with pytest.raises(ExecutorError, match=r"2 workers are asked for, .* only 0 CPUs .* others"):
            RayCrew(2)
    finally:
        holding.close()


def test_an_address_nobody_answers_at_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="nobody answers at"):
        on_ray._connect(None, "127.0.0.1:9", 1)
    with pytest.raises(ConfigError, match="not ray://"):
        on_ray._connect(None, "ray://somewhere:10001", 1)


def test_other_versions_are_refused() -> None:
    with pytest.raises(ExecutorError, match=r"torch 0\.1 there, .* here"):
        on_ray._check_versions({**on_ray._versions(), "torch": "0.1"})


@pytest.mark.nightly
def test_a_head_that_goes_away_stops_the_work() -> None:
    code = (
        "import os, signal\n"
        "from pathlib import Path\n"
        "from dfprompt.executor.dispatch import CrewExecutor\n"
        "from dfprompt.executor.on_ray import RayCrew\n"
        "from light_works import slowly\n"
        "from itertools import count\n"
        "results = CrewExecutor(RayCrew(1)).map(slowly, count())\n"
        "print(next(results))\n"
        "for place in Path('/proc').iterdir():\n"
        "    if place.name.isdigit():\n"
        "        try:\n"
        "            words = (place / 'cmdline').read_bytes().split(b'\\0')\n"
        "            mine = f'DFPROMPT_HEAD={os.getpid()}'.encode() in (place / 'environ').read_bytes()\n"
        "        except OSError:\n"
        "            continue\n"
        "        if mine and words[0].endswith((b'gcs_server', b'raylet')):\n"
        "            os.kill(int(place.name), signal.SIGKILL)\n"
        "try:\n"
        "    list(results)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error, flush=True)\n"
        "os._exit(0)\n"
    )
    code = "import os; os.environ['DFPROMPT_HEAD'] = str(os.getpid())\n" + code
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=250,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert "ExecutorError the head of the Ray cluster at" in done.stdout, done.stderr
