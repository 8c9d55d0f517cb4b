"""The one writer: whole or not at all, never through a link, nothing of anybody else's touched."""

from __future__ import annotations

import hashlib
import json
import os
import tracemalloc
from pathlib import Path

import pytest

from dfprompt.api.merging import merge_folders
from dfprompt.config import write_recipe
from dfprompt.endpoint import keep_token
from dfprompt.errors import ConfigError, EvaluationError, InputError
from dfprompt.measurement.log import ROWS, read_asked
from dfprompt.measurement.shards import SHARD
from dfprompt.policy.folders import weights_digest
from dfprompt.storage import (
    LineFile,
    append_lines,
    check_free,
    iter_bytes,
    iter_user_lines,
    lock_folder,
    parse_lines,
    read_lines,
    read_text,
    remove,
    whole,
    whole_files,
    whole_folder,
    write_text,
)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_a_failure_leaves_what_stood_there_and_no_new_folder(tmp_path: Path) -> None:
    write_text(tmp_path / "a", "old")

    def fail() -> None:
        with whole_files(tmp_path / "a", tmp_path / "deep" / "b") as (one, two):
            one.write_text("new")
            two.write_text("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / "a").symlink_to(tmp_path / "victim")
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "victim").read_text() == "mine"
    assert not (tmp_path / "a").is_symlink()
    (tmp_path / "rows.jsonl").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="symbolic links"):
        append_lines(tmp_path / "rows.jsonl", ["{}"])
    assert (tmp_path / "victim").read_text() == "mine"


def test_a_folder_takes_the_place_of_a_link_and_leaves_the_other_folder(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "x").write_text("mine")
    (tmp_path / "policy").symlink_to(tmp_path / "theirs")
    with whole_folder(tmp_path / "policy") as unfinished:
        (unfinished / "y").write_text("new")
    assert names(tmp_path) == ["policy", "policy/y", "theirs", "theirs/x"]


def test_siblings_with_names_of_old_temporaries_stay(tmp_path: Path) -> None:
    for name in ("p.old", "p.partial", ".p.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "backup").write_text("mine")
    for _ in range(2):
        with whole_folder(tmp_path / "p") as unfinished:
            (unfinished / "y").write_text("new")
    assert {name.split("/")[0] for name in names(tmp_path)} == {"p", "p.old", "p.partial", ".p.partial"}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_is_replaced_where_names_cannot_be_exchanged_too(
    exchanges: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not exchanges:
        monkeypatch.setattr(whole, "_exchange", lambda one, other: False)
    for text in ("old", "new"):
        with whole_folder(tmp_path / "p") as unfinished:
            (unfinished / text).touch()
    assert names(tmp_path) == ["p", "p/new"]


def test_files_are_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_files(tmp_path / "a") as (unfinished,):
            unfinished.write_text("x")
            unfinished.chmod(0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_line_that_a_kill_cut_is_cut_off_at_every_place(tmp_path: Path) -> None:
    path, line = tmp_path / "rows.jsonl", b'{"a": "caf\xc3\xa9"}\n'
    for cut in range(len(line)):
        path.write_bytes(line + line[:cut])
        append_lines(path, ['{"b": 1}'])
        assert path.read_bytes() == line + b'{"b": 1}\n', cut


def test_lines_appended_together_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    """A search once kept the first of two rows, drew the other apart, and its bits were others."""
    path, rows = tmp_path / "rows.jsonl", [{"a": "caf\u00e9 \t"}, {"b": 2}, {"c": "}\t"}]
    for before in ([], [{"z": 0}], [{"y": 0}, {"z": 1}]):
        path.unlink(missing_ok=True)
        append_lines(path, map(json.dumps, before))
        first = path.read_bytes()
        append_lines(path, map(json.dumps, rows))
        whole = path.read_bytes()
        assert [json.loads(line) for line in whole.splitlines()] == [*before, *rows]
        assert [json.loads(line) for line in read_lines(path)] == [*before, *rows]
        for cut in range(len(first), len(whole)):
            path.write_bytes(whole[:cut])
            assert [json.loads(line) for line in read_lines(path)] == before, cut
            append_lines(path, ['{"n": 1}'])
            assert path.read_bytes() == first + b'{"n": 1}\n', cut


@pytest.mark.parametrize("text", ["mine", "mine\t\n", "mine\n\t\n"])
def test_text_of_somebody_else_is_never_cut(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    with pytest.raises(InputError, match="did not write"):
        LineFile(path)
    assert path.read_text() == text


def test_long_files_are_repaired_from_their_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    for torn in (b'{"b": "' + b"x" * 300_000, b'{"b": 1}\t\n' * 20_000, b'{"b": 1}\t\n' * 20_000 + b'{"b'):
        path.write_bytes(b'{"a": 1}\n' + torn)
        append_lines(path, ['{"c": 1}'])
        assert read_lines(path) == ['{"a": 1}', '{"c": 1}']


def test_a_second_writer_is_refused_and_a_dead_one_is_not(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with lock_folder(tmp_path / "out"):
            (tmp_path / "out" / ".dfprompt-0123456789abcdef.partial").write_text("half")
            (tmp_path / "out" / ".dfprompt-mine.partial").write_text("mine")
            os._exit(0)  # as a kill would: nothing is cleaned up
    os.waitpid(child, 0)
    with lock_folder(tmp_path / "out"):
        assert names(tmp_path / "out") == [".dfprompt-mine.partial"]
        with pytest.raises(InputError, match="another dfprompt"), lock_folder(tmp_path / "out"):
            pass
    with lock_folder(tmp_path / "new"):
        pass
    assert not (tmp_path / "new").exists()


def test_removing_a_folder_leaves_what_a_link_in_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "x").touch()
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "link").symlink_to(tmp_path / "theirs")
    remove(tmp_path / "p")
    assert names(tmp_path) == ["theirs", "theirs/x"]


def test_a_text_is_read_without_its_byte_order_mark_and_cut_at_ends_of_lines_alone(tmp_path: Path) -> None:
    place = tmp_path / "a.txt"
    place.write_bytes("\ufeffone\r\n\r\ntwo\u2028half\rthree".encode())
    assert read_text(place) == "one\n\ntwo\u2028half\nthree"
    assert parse_lines(place, str) == ["one", "two\u2028half", "three"]


def test_no_more_is_read_of_a_text_than_was_asked_for(tmp_path: Path) -> None:
    place = tmp_path / "a.txt"
    place.write_text("12345\n" * 2)
    assert read_text(place, 12) == "12345\n" * 2
    for read in (lambda: read_text(place, 11), lambda: list(iter_user_lines(place, most=11))):
        with pytest.raises((OSError, InputError), match="longer than 11"):
            read()
    os.mkfifo(tmp_path / "pipe")
    assert read_text(tmp_path / "pipe") == ""


def test_every_line_that_is_wrong_is_named_and_none_is_an_error(tmp_path: Path) -> None:
    def refuse(line: str) -> str:
        raise InputError(f"{line} is wrong")

    place = tmp_path / "a.txt"
    place.write_text("a\n\nb\n" + "c\n" * 30)
    with pytest.raises(InputError) as caught:
        parse_lines(place, refuse)
    said = str(caught.value).split("\n")
    assert said[:2] == [f"{place}, line 1: a is wrong", f"{place}, line 3: b is wrong"]
    assert said[-1] == "and 12 lines more"
    place.write_text("\n")
    with pytest.raises(InputError, match=r"a\.txt: no words"):
        parse_lines(place, str, none="no words")


@pytest.mark.parametrize("target", ["gone", "link"])
def test_a_link_that_leads_nowhere_is_there_already(target: str, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / target)
    with pytest.raises(InputError, match=r"link exists already; .* add --force"):
        check_free([tmp_path / "link"], force=False)
    with pytest.raises(InputError, match="link exists already"):
        write_recipe({}, tmp_path / "link")
    with pytest.raises(ConfigError, match="cannot read"):
        keep_token(tmp_path / "link")
    with pytest.raises(InputError, match="link exists already"):
        merge_folders([tmp_path], tmp_path / "link")
    assert (tmp_path / "link").is_symlink()


def test_what_cannot_be_read_is_not_said_to_be_written(tmp_path: Path) -> None:
    for name in (SHARD, ROWS):
        (tmp_path / name).mkdir()
    for read in (lambda: merge_folders([tmp_path], tmp_path / "o"), lambda: read_asked(tmp_path / ROWS)):
        with pytest.raises(EvaluationError, match=r"^cannot read "):
            read()


def test_weights_are_digested_piece_by_piece(tmp_path: Path) -> None:
    place = tmp_path / "model.safetensors"
    with place.open("wb") as file:
        file.truncate(10 * 2**20)
    assert max(map(len, iter_bytes(place))) < 2**23
    tracemalloc.start()
    try:
        digest = weights_digest(tmp_path)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 9 * 2**20
    assert digest == hashlib.sha256(b"model.safetensors\0" + place.read_bytes()).hexdigest()[:16]
