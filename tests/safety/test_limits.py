"""Few file descriptors and little memory: one line that says so, or the work done; never half a file."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run

QUICK = ("generate", "curate", "train sft")
EVERY = [name if name in QUICK else pytest.param(name, marks=pytest.mark.nightly) for name in COMMANDS]


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))


def little_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * resource.getpagesize() + 40 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


@pytest.mark.parametrize("limit", [few_files, little_memory])
@pytest.mark.parametrize("name", EVERY)
def test_a_limit_is_said_in_words(name: str, limit: Callable[[], None], tmp_path: Path) -> None:
    import_everything()
    write_inputs(tmp_path)
    begin(COMMANDS[name], tmp_path / "run")
    ended = run(COMMANDS[name].parts, tmp_path / "run", limit=limit)
    assert ended.code in (0, 1, 2), ended.err
    assert "Traceback" not in ended.err + ended.out
    assert ended.code == 0 or "error:" in ended.err
    assert not list((tmp_path / "run").rglob(".dfprompt-*"))
