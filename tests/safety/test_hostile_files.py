"""Hostile files for every command that reads any: no code, no question, no traceback, 10 seconds, 1 GB.

Two per case in the quick run, DFPROMPT_HOSTILE_FILES (4) in the nightly one; made by code from a seed. What
only trains or draws for seconds before it reads is nightly altogether. 300 for every command:
`benchmarks/bench_hostile.py`.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import hostile_files
from crash_machine import import_everything
from hostile_cases import CASES, FROM_NOTHING, LONG, try_one
from hostile_goods import Goods

pytestmark = pytest.mark.enable_socket  # servers open their port before they are ended

QUICK, MANY = 2, int(os.environ.get("DFPROMPT_HOSTILE_FILES", "4"))


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Goods:
    import_everything()
    return Goods(tmp_path_factory.mktemp("hostile"))


def _try(name: str, count: int, good: Goods, tmp_path: Path) -> None:
    tried = [try_one(name, number, good, tmp_path / str(number)) for number in range(count)]
    failures = [f"{at}: {each.wrong}: {each.said[-600:]}" for at, each in enumerate(tried) if each.wrong]
    assert not failures, f"{len(failures)} of {count}: " + "\n".join(failures[:8])


@pytest.mark.parametrize("name", [each for each in CASES if each not in LONG])
@pytest.mark.few(5)
def test_hostile_files_are_refused_in_words(name: str, good: Goods, tmp_path: Path) -> None:
    _try(name, QUICK, good, tmp_path)


@pytest.mark.nightly
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("name", CASES)
def test_many_hostile_files(name: str, good: Goods, tmp_path: Path) -> None:
    _try(name, MANY, good, tmp_path)


MADE_OF_GOOD = [name for name, (make, _) in CASES.items() if make not in FROM_NOTHING]


@pytest.mark.nightly
@pytest.mark.parametrize("name", MADE_OF_GOOD)
def test_what_nobody_changed_is_taken(
    name: str, good: Goods, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What hostile files are made of is in order: else they would be refused for something else."""
    monkeypatch.setattr(hostile_files, "_change", lambda *_: None)
    tried = try_one(name, 0, good, tmp_path / "0")
    assert (tried.code, tried.wrong) == (0, ""), tried.said[-900:]
