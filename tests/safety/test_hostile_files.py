"""Hostile files for every command that reads any: no code, no question, no traceback, 10 seconds, 1 GB.

Two per case in the quick run, DFPROMPT_HOSTILE_FILES (4) in the nightly one; made by code from a seed. What
only trains or draws for seconds before it reads is nightly altogether. 300 for every command:
`benchmarks/bench_hostile.py`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
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


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(6 * 10**9)


ENDLESS = {"sparse": _sparse, "device": lambda path: path.symlink_to("/dev/zero"), "pipe": os.mkfifo}
TEXTS = (".txt", ".toml", ".json", ".jsonl", ".csv", "")
OF_TEXT = [name for name, (_, typed) in CASES.items() if "<{x}" not in typed and name not in LONG]


def _spoil(kind: str, which: int) -> Callable[[Path], None]:
    """Put a text without end in the place of a file, or of a folder's text file of this number."""

    def spoil(path: Path) -> None:
        files = sorted(each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
        texts = [each for each in files if each.suffix in TEXTS]
        if not texts:
            pytest.skip("no text is read")
        chosen = texts[which % len(texts)]
        chosen.unlink()
        ENDLESS[kind](chosen)

    return spoil


@pytest.mark.parametrize("kind", ENDLESS)
@pytest.mark.parametrize("name", OF_TEXT)
@pytest.mark.few("prompts", "modifiers", "with-file", "recipe", "checks", "token to serve", "reward")
def test_a_text_without_end_is_refused_in_words(name: str, kind: str, good: Goods, tmp_path: Path) -> None:
    """Such files were read whole, and a pipe that nobody writes into was waited for."""
    tried = try_one(name, 0, good, tmp_path / "0", _spoil(kind, 0))
    assert not tried.wrong, tried.said[-600:]
    assert "out of memory" not in tried.said


@pytest.mark.parametrize("beside", ["domain.json", "companions.json"])
def test_what_lies_beside_weights_is_bounded(beside: str, good: Goods, tmp_path: Path) -> None:
    kind = {"domain.json": "policy", "companions.json": "pipeline to start"}[beside]
    tried = try_one(kind, 0, good, tmp_path / "0", lambda folder: _sparse(folder / beside))
    assert tried.code == 2
    assert beside in tried.said
    assert "longer than" in tried.said or "at most" in tried.said
