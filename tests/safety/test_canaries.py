"""A folder that holds somebody's files of a command's own names: without --force not one of them changes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import dfprompt
from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, import_everything, run
from dfprompt.errors import InputError

TEXTS = {"plain": b"mine", "line": b"mine\n", "json": b'{"mine": 1}\n'}


def snapshot(folder: Path) -> dict[str, object]:
    return {
        str(path.relative_to(folder)): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


QUICK = ("generate", "evaluate", "curate", "train sft", "plan", "inspect")
CASES = [
    pytest.param(
        name,
        without_manifest,
        text,
        marks=() if name in QUICK and text != "line" else pytest.mark.nightly,
        id=f"{name} {'without' if without_manifest else 'with'} its manifest, {text}",
    )
    for name, each in COMMANDS.items()
    for without_manifest in ([True, False] if each.manifest else [False])
    for text in (("plain",) if each.brief else TEXTS)
    if not name.endswith("--force")
]


BESIDE = [name if name in QUICK else pytest.param(name, marks=pytest.mark.nightly) for name in COMMANDS]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_everything()
    place = tmp_path_factory.mktemp("canaries")
    write_inputs(place)
    return place


_names: dict[str, list[str]] = {}


def written_by(name: str, place: Path) -> list[str]:
    """The names of all files that a command writes."""
    if name not in _names:
        folder = place / f"whole {name}"
        begin(COMMANDS[name], folder)
        before = snapshot(folder)
        assert run(COMMANDS[name].parts, folder).code == 0
        _names[name] = sorted(snapshot(folder).keys() - before.keys())
    return _names[name]


@pytest.mark.parametrize(("name", "without_manifest", "text"), CASES)
@pytest.mark.few(4)
def test_nothing_of_the_users_changes(name: str, without_manifest: bool, text: str, place: Path) -> None:
    command = COMMANDS[name]
    folder = place / f"{name} {without_manifest} {text}"
    begin(command, folder)
    for each in written_by(name, place):
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


@pytest.mark.parametrize("name", BESIDE)
@pytest.mark.few("plan", "inspect", "curate")
def test_what_lies_beside_is_neither_written_nor_removed(name: str, place: Path) -> None:
    """Names of old temporary files, of every file and folder that a command writes."""
    command, folder = COMMANDS[name], place / f"beside {name}"
    begin(command, folder)
    written = [Path(each) for each in written_by(name.removesuffix(" --force"), place)]
    beside_which = {*written, *(parent for path in written for parent in path.parents[:-1])}
    if name.endswith("--force"):  # begins anew: folders of a run go whole
        beside_which = {each for each in beside_which if len(each.parts) <= 2}
    for each in beside_which:
        for beside in (f"{each.name}.old", f"{each.name}.partial", f".{each.name}.partial"):
            path = folder / each.with_name(beside)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"mine")
    mine = {key: value for key, value in snapshot(folder).items() if value == b"mine"}
    ended = run(command.parts, folder)
    assert ended.code in (0, 2), ended.err
    assert ended.code == 0 or "error:" in ended.err
    after = snapshot(folder)
    assert {key: after.get(key) for key in mine} == mine
    assert ended.code == 2 or {*written} <= {Path(each) for each in after}


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


def _reward_recipe(folder: Path) -> Path:
    folder.mkdir()
    (folder / "reward.toml").write_text("[composite]\na = 0\n")
    return folder / "reward.toml"


@pytest.mark.parametrize("theirs", ["ch1/text.md", "README.md", "notes", "clip/config.json"])
def test_sharing_into_a_folder_of_somebodys_changes_nothing(theirs: str, tmp_path: Path) -> None:
    """`push_to_hub(reward, Path("thesis"))` once put the share in the place of all that lay there."""
    file = tmp_path / "thesis" / theirs
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with pytest.raises(InputError, match="other files than an earlier share"):
        dfprompt.push_to_hub(_reward_recipe(tmp_path / "reward"), tmp_path / "thesis")
    assert snapshot(tmp_path / "thesis") == {theirs: b"mine"}
