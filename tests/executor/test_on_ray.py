"""Workers on a Ray cluster: lost ones, too few of them, and a head that goes away."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from secrets import token_hex

import pytest

from dfprompt.api.reinforcement import run_reinforcement
from dfprompt.errors import ConfigError, ExecutorError
from dfprompt.executor import on_ray
from dfprompt.executor.dispatch import CrewExecutor
from dfprompt.executor.on_ray import RayCrew
from light_works import POISON, Doubling, slowly
from same_numbers import prepare, read_numbers, run_grpo
from worker_kills import HEAD_OF, one_killed

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, pytest.mark.usefixtures("ray_cluster")]


def test_a_killed_worker_changes_nothing() -> None:
    with CrewExecutor(RayCrew(2)) as executor, one_killed(1, within=2) as killed:
        assert list(executor.map(slowly, range(100))) == [2 * each for each in range(100)]
    assert killed


@pytest.mark.nightly
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


@pytest.mark.nightly
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


def _in_another_process(code: str, *words: str) -> str:
    """What a Python program prints whose own cluster's head can be killed by `HEAD_OF`."""
    path = os.pathsep.join([*sys.path, str(Path(__file__).parents[1])])
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "PYTHONPATH": path, HEAD_OF: token_hex(8)},
        check=False,
    )
    assert done.returncode >= 0, done.stderr  # by itself, not by a signal
    return done.stdout + done.stderr


@pytest.mark.nightly
def test_a_head_that_goes_away_stops_the_work() -> None:
    said = _in_another_process(
        "import os\n"
        "from itertools import count\n"
        "from dfprompt.executor.dispatch import CrewExecutor\n"
        "from dfprompt.executor.on_ray import RayCrew\n"
        "from light_works import slowly\n"
        "from worker_kills import HEAD_OF, kill_head\n"
        "results = CrewExecutor(RayCrew(1)).map(slowly, count())\n"
        "print(next(results))\n"
        "kill_head(os.environ[HEAD_OF])\n"
        "try:\n"
        "    list(results)\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    assert "ExecutorError the head of the Ray cluster at" in said


@pytest.mark.nightly
@pytest.mark.timeout(900)
def test_a_training_that_loses_its_head_says_how_to_go_on_and_does(tmp_path: Path) -> None:
    inputs, output = prepare(tmp_path / "in"), tmp_path / "run"
    said = _in_another_process(
        "import os, sys, threading, time\n"
        "from pathlib import Path\n"
        "from dfprompt.executor import on_ray\n"
        "from same_numbers import run_grpo\n"
        "from worker_kills import HEAD_OF, kill_head\n"
        "inputs, output = map(Path, sys.argv[1:])\n"
        "on_ray._PROBE = 0.1\n"
        "def hunt():\n"
        "    while not list(output.glob('checkpoints/step-*/state.json')):\n"
        "        time.sleep(0.01)\n"
        "    kill_head(os.environ[HEAD_OF])\n"
        "threading.Thread(target=hunt, daemon=True).start()\n"
        "try:\n"
        "    run_grpo(inputs, output, {'workers': 1, 'ray': 'local'})\n"
        "except Exception as error:\n"
        "    print(type(error).__name__, error)\n",
        *map(str, (inputs, output)),
    )
    assert "the head of the Ray cluster at" in said
    assert re.search(r"the checkpoint of step \d is safe, and --resume goes on from it", said), said
    run_grpo(inputs, tmp_path / "whole", {})
    run_reinforcement("grpo", None, [], output=output, resume=True)  # here, without Ray
    assert read_numbers(output) == read_numbers(tmp_path / "whole")
