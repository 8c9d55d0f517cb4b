"""Crashes at the n-th file operation: after any, the same command goes on to the same files, to the bit.

`make test` takes a few operations of the quick commands, the nightly run of all; 50 of each, and 1,000 kills,
`benchmarks/bench_kills.py`.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from crash_commands import COMMANDS, write_inputs
from crash_machine import Ended, begin, differences, go_on, import_everything, misspoken, run, spread, tree

QUICK = ("generate", "evaluate", "curate", "train sft", "plan", "inspect")
SHORT = {*QUICK, *(name for name, each in COMMANDS.items() if each.brief)}
LONG = (pytest.mark.nightly, pytest.mark.timeout(3000))
EVERY = [name if name in QUICK else pytest.param(name, marks=LONG) for name in COMMANDS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the commands read; everything that children need is imported here, once."""
    import_everything()
    folder = tmp_path_factory.mktemp("crashes")
    write_inputs(folder)
    return folder


_whole: dict[str, tuple[Ended, dict[str, object]]] = {}


def whole(name: str, place: Path) -> tuple[Ended, dict[str, object]]:
    """The command undisturbed: how it ended, and its files."""
    if name not in _whole:
        folder = place / f"whole {name}"
        begin(COMMANDS[name], folder)
        ended = run(COMMANDS[name].parts, folder)
        assert ended.code == 0, ended.err
        _whole[name] = ended, tree(folder)
    return _whole[name]


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.few("generate", "curate", "plan", "inspect")
def test_a_kill_at_any_operation_loses_nothing(name: str, place: Path) -> None:
    ended, expected = whole(name, place)
    for at in spread(ended.operations, 4)[1:3] if name in SHORT else spread(ended.operations, 3):
        folder = place / f"kill {name} {at}"
        begin(COMMANDS[name], folder)
        assert run(COMMANDS[name].parts, folder, at=at).code == -9
        again = go_on(COMMANDS[name], folder)
        assert again.code == 0, f"operation {at}: {again.err}"
        assert differences(folder, expected) == [], f"operation {at}"


@pytest.mark.parametrize("by", ["OSError", "MemoryError"])
@pytest.mark.parametrize("name", EVERY)
@pytest.mark.few("curate-MemoryError", "plan-OSError", "inspect-MemoryError")
def test_an_error_at_any_operation_is_one_line_and_loses_nothing(name: str, by: str, place: Path) -> None:
    ended, expected = whole(name, place)
    for at in (1, *(spread(ended.operations, 5)[3:4] if name in SHORT else spread(ended.operations, 4)[1:3])):
        folder = place / f"{by} {name} {at}"
        begin(COMMANDS[name], folder)
        failed = run(COMMANDS[name].parts, folder, at=at, by=by)
        assert failed.code in (0, 1, 2), f"operation {at}: {failed.err}"
        assert misspoken(failed) == [], f"operation {at}: {failed.err}"
        if failed.code:
            again = go_on(COMMANDS[name], folder)
            assert again.code == 0, f"operation {at}: {again.err}"
        assert differences(folder, expected) == [], f"operation {at}"


@pytest.mark.nightly
def test_a_killed_force_never_goes_on_at_the_old_checkpoint(place: Path) -> None:
    """Deleting the recipe first once left the old checkpoints to the new recipe: done at once, and wrong."""
    old, lr = COMMANDS["train sft"], ("--set", "optimizer.learning_rate=0.01")
    fresh = place / "fresh"
    assert run([*old.parts, *lr], fresh).code == 0
    expected = tree(fresh)
    begun = place / "begun"
    assert run(old.parts, begun).code == 0
    forced = run([*old.parts, *lr, "--force"], begun)
    assert forced.code == 0
    for at in spread(min(12, forced.operations), 4)[1:3]:
        folder = place / f"forced {at}"
        assert run(old.parts, folder).code == 0
        assert run([*old.parts, *lr, "--force"], folder, at=at).code == -9
        unasked = run([*old.parts, *lr], folder)
        if unasked.code == 0:  # nothing of the old run was left
            assert differences(folder, expected) == []
            continue
        resumed = run([*old.parts, *lr, "--resume"], folder)
        assert resumed.code in (0, 2)
        if resumed.code == 2:
            assert run([*old.parts, *lr, "--force"], folder).code == 0
        assert differences(folder, expected) == []


@pytest.mark.parametrize("name", ["data/train.jsonl", "base"])
@pytest.mark.few("base")
def test_a_run_goes_on_only_with_what_it_was_begun_with(name: str, tmp_path: Path) -> None:
    import shutil

    from dfprompt.api.world import mini_folder

    write_inputs(tmp_path)
    shutil.copytree(mini_folder("lm"), tmp_path / "base")
    command = [*COMMANDS["train sft"].parts, "--set", "model.base=../base"]
    folder = tmp_path / "run"
    assert run(command, folder, at=120).code == -9
    victim = tmp_path / name if name.endswith("jsonl") else tmp_path / "base" / "config.json"
    content = victim.read_bytes()
    victim.write_bytes(
        content[: content.rfind(b"\n", 0, -1) + 1] if name.endswith("jsonl") else content + b" "
    )
    refused = run([*command, "--resume"], folder)
    assert refused.code == 2
    assert f"another {'data' if name.endswith('jsonl') else 'base'}" in refused.err
    victim.write_bytes(content)
    assert run([*command, "--resume"], folder).code == 0


@pytest.mark.parametrize("by", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("name", [*EVERY[:1], *(pytest.param(name, marks=LONG) for name in [*COMMANDS][1:])])
@pytest.mark.few("generate-SIGTERM")
def test_a_signal_at_any_operation_ends_in_words_and_loses_nothing(name: str, by: str, place: Path) -> None:
    ended, expected = whole(name, place)
    for at in spread(ended.operations, 4)[1:2] if name in SHORT else spread(ended.operations, 4)[1:3]:
        folder = place / f"{by} {name} {at}"
        begin(COMMANDS[name], folder)
        stopped = run(COMMANDS[name].parts, folder, at=at, by=by)
        assert stopped.code == {"SIGTERM": 143, "SIGINT": 130}[by], stopped.err
        assert "stopped by" in stopped.err
        assert "Traceback" not in stopped.err + stopped.out
        again = go_on(COMMANDS[name], folder)
        assert again.code == 0, f"operation {at}: {again.err}"
        assert differences(folder, expected) == [], f"operation {at}"
