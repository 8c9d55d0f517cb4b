"""The commands still answer on the mini world what they answered when this was recorded; see record.py."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from record import differences

BEFORE = {"a: pixels": "ab12", "a: reward": 1.5, "a: p": None, "a: interval": [-0.5, 1.0]}


@pytest.mark.nightly
def test_every_command_answers_what_was_recorded() -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(Path(__file__).parent / "record.py")]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr[-2000:]


def test_one_bit_is_seen_on_the_same_processor_and_only_there() -> None:
    now = {**BEFORE, "a: reward": math.nextafter(1.5, 2), "a: pixels": "cd34"}
    assert len(differences(BEFORE, now, exact=True)) == 2
    assert differences(BEFORE, now, exact=False) == []
    assert differences(BEFORE, dict(BEFORE), exact=True) == []


def test_other_answers_are_seen_on_every_processor() -> None:
    for change in ({"a: reward": 1.6}, {"a: p": 0.1}, {"a: interval": [-0.5, 1.1]}):
        assert len(differences(BEFORE, {**BEFORE, **change}, exact=False)) == 1
    assert differences(BEFORE, {**BEFORE, "b": 1}, exact=True) == [], "a command may say more"
    assert differences(BEFORE, {"a: reward": 1.5}, exact=False) == [
        "a: interval: gone",
        "a: p: gone",
        "a: pixels: gone",
    ]
