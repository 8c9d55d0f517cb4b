"""A folder that holds somebody's files of a command's own names: without --force not one of them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from crash_commands import COMMANDS, write_inputs
from crash_machine import import_everything, run

TEXTS = {"plain": b"mine", "line": b"mine\n", "json": b'{"mine": 1}\n'}


def snapshot(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]]]:
    import_everything()
    place = tmp_path_factory.mktemp("canaries")
    write_inputs(place)
    names = {}
    for name, command in COMMANDS.items():
        if command.slow:
            continue
        folder = place / f"whole {name}"
        assert run(command.parts, folder).code == 0
        names[name] = [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]
    return place, names


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("without_manifest", [True, False])
@pytest.mark.parametrize("name", [name for name, each in COMMANDS.items() if not each.slow])
def test_nothing_of_the_users_changes(
    name: str, without_manifest: bool, text: str, written: tuple[Path, dict[str, list[str]]]
) -> None:
    place, names = written
    command = COMMANDS[name]
    folder = place / f"{name} {without_manifest} {text}"
    for each in names[name]:
        path = folder / each
        if without_manifest and command.manifest and path.name == command.manifest:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(TEXTS[text])
    for beside in (
        "policy.old/backup",
        "policy.partial/backup",
        "best.old/x",
        "grid.png.partial",
        ".policy.partial",
    ):
        path = folder / "out" / beside
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"mine")
    before = snapshot(folder)
    ended = run(command.parts, folder)
    assert ended.code == 2, ended.err
    assert "Traceback" not in ended.err
    assert snapshot(folder) == before
    forced = run([*command.parts, "--force"], folder)
    if forced.code == 0:
        after = snapshot(folder)
        assert {key: after.get(key) for key in before if "old" in key or "partial" in key} == {
            key: value for key, value in before.items() if "old" in key or "partial" in key
        }


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    """`NAME.partial` was once a predictable name: a link there led the picture out of the folder."""
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    folder = tmp_path / "run" / "out"
    folder.mkdir(parents=True)
    for seed in (0, 1):
        (folder / f"a-red-cat-film-grain-seed{seed}.png.partial").symlink_to(victim)
    assert run(COMMANDS["generate"].parts, tmp_path / "run").code == 0
    assert victim.read_text() == "mine"
    assert not (folder / "a-red-cat-film-grain-seed0.png").is_symlink()
