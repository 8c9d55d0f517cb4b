"""Two processes on one folder: the second is told so in one line, also under --resume; nothing is mixed."""

from __future__ import annotations

from pathlib import Path

import pytest

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run, tree
from dfprompt.storage import lock_folder

OWNERS = [name for name, each in COMMANDS.items() if each.owns_folder and not each.before]


@pytest.mark.parametrize("name", OWNERS)
@pytest.mark.few(4)
def test_a_second_process_is_refused_and_writes_nothing(name: str, tmp_path: Path) -> None:
    import_everything()
    write_inputs(tmp_path)
    command, folder = COMMANDS[name], tmp_path / "run"
    begin(command, folder)
    before = tree(folder)
    for extra in {(), command.again}:
        with lock_folder(folder / "out"):
            ended = run([*command.parts, *extra], folder)
            assert ended.code == 2, ended.err
            assert "another dfprompt is writing there" in ended.err
            assert tree(folder) == before
