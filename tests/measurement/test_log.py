"""The log: exact round trips, half-written lines, doubles, two writers, what may go on and what may not."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import EvaluationError, InputError
from dfprompt.measurement.log import MeasurementLog, read_rows
from dfprompt.measurement.places import file_name
from dfprompt.measurement.rows import Row, parse_row
from dfprompt.prompt import DFPrompt, parse_prompt

ROWS = [
    Row("plain", "a", "a cat", 0, 17, "a cat", "p/a.png", {"clip": 0.25}, {}, 1, 0.5),
    Row("plain", "a", "a cat", 1, failed={"method": "broken"}),
    Row("ours", "b", "日本 \ud800", 0, scores={"clip": -1e-9}),
]


def _write(path: Path, rows: list[Row], **options: Any) -> None:
    with MeasurementLog(path, **options) as log:
        log.append(rows)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    _write(path, ROWS)
    assert read_rows(path) == ROWS
    assert path.read_bytes().isascii()


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**48))
def test_any_text_and_number_survives(text: str, score: float, noise: int) -> None:
    row = Row("m", text, text, 3, noise, text, scores={text: score})
    assert parse_row(row.to_line(), "here") == row
    assert "\n" not in row.to_line()


def test_every_cut_of_the_last_line_loses_that_row_alone(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with MeasurementLog(path) as log:
        for row in ROWS:
            log.append([row])
    whole = path.read_bytes()
    start = len(whole) - len(ROWS[-1].to_line()) - 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_rows(path) == ROWS[:2]
        with MeasurementLog(path) as log:
            assert list(log.rows.values()) == ROWS[:2]
            log.append([ROWS[2]])
        assert path.read_bytes() == whole


def test_of_a_batch_that_a_kill_cut_short_no_row_is_kept(tmp_path: Path) -> None:
    """What is drawn together has its bits from that: of two, the other alone would have others."""
    path = tmp_path / "rows.jsonl"
    _write(path, ROWS[:1])
    first = path.read_bytes()
    _write(path, ROWS[1:])
    whole = path.read_bytes()
    for cut in range(len(first), len(whole)):
        path.write_bytes(whole[:cut])
        assert read_rows(path) == ROWS[:1]
        _write(path, ROWS[1:])
        assert path.read_bytes() == whole


def test_a_first_line_that_a_kill_cut_short_is_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"dfprompt": 1, "measur')
    _write(path, ROWS, asked={"steps": 4})
    assert json.loads(path.read_text().splitlines()[0])["asked"] == {"steps": 4}
    assert read_rows(path) == ROWS


def test_the_later_of_two_rows_holds(tmp_path: Path) -> None:
    path, mended = tmp_path / "rows.jsonl", replace(ROWS[1], failed={}, scores={"clip": 1.0})
    _write(path, [*ROWS, mended])
    assert read_rows(path) == [ROWS[0], mended, ROWS[2]]


def test_a_row_is_found_by_its_own_words() -> None:
    log = MeasurementLog()
    words = parse_prompt("a cat, [film grain:late]")
    row = Row("theirs", "a", "a cat", 0, df_prompt=str(words), scores={"clip": 1.0}, failed={"hps": "no"})
    log.append([row, ROWS[1]])
    assert log.find(row.key, words) == row
    assert log.find(row.key, parse_prompt("a cat, [film grain:early]")) is None, "mended since"
    assert log.find(row.key, words, retry_failed=True) is None
    assert log.find(ROWS[1].key, None) == ROWS[1], "no words then, none now"
    assert log.find(ROWS[1].key, DFPrompt.from_plain("a cat")) is None, "a rewrite is there now"
    log.append([replace(row, df_prompt="a cat, [film grain:0.5->0:1]")])
    assert log.find(row.key, words) is not None, "the same prompt, printed otherwise"


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"method": 1}', '{"method": "a", "prompt_id": "b"}', ""])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    _write(path, ROWS[:1])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EvaluationError, match="line 3"):
        read_rows(path)
    with pytest.raises(EvaluationError, match="line 3"):
        MeasurementLog(path)


def test_fields_of_a_later_version_are_let_through() -> None:
    line = ROWS[0].to_line().replace('{"method"', '{"later": [1], "method"', 1)
    assert parse_row(line, "here") == ROWS[0]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with MeasurementLog(tmp_path / "rows.jsonl"):
        with pytest.raises(InputError, match="another"):
            MeasurementLog(tmp_path / "rows.jsonl")
    MeasurementLog(tmp_path / "rows.jsonl").close()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_row_carries_a_score_that_is_no_number(value: float, tmp_path: Path) -> None:
    with MeasurementLog(tmp_path / "rows.jsonl") as log, pytest.raises(EvaluationError, match="finite"):
        log.append([ROWS[0], Row("m", "a", "a", 0, scores={"clip": value})])
    assert read_rows(tmp_path / "rows.jsonl") == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot write"):
        MeasurementLog(tmp_path / "file" / "rows.jsonl")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"asked": {"steps": 5}}, r"steps differ \(steps: .4., now .5.\)"),
        ({"asked": {"steps": 4, "seed": 1}}, "seed differ"),
        ({"methods": {"a": "other words"}}, "method a differ"),
        ({"kind": "search"}, "another kind: evaluation"),
        ({"resume": False}, "add --resume"),
    ],
)
def test_another_measurement_is_refused_and_nothing_is_written(
    change: dict[str, Any], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.jsonl"
    asked: dict[str, Any] = {"asked": {"steps": 4}, "methods": {"a": "words"}, "kind": "evaluation"}
    _write(path, ROWS, **asked)
    before = path.read_bytes()
    with pytest.raises(InputError, match=said):
        MeasurementLog(path, **{**asked, **change})
    assert path.read_bytes() == before


def test_methods_may_join_and_free_ones_may_change(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    _write(path, ROWS, methods={"a": "words", "file": "one line"})
    _write(path, [], methods={"b": "more words", "file": "two lines"}, free=["file"])
    head = json.loads(path.read_text().splitlines()[0])
    assert head["methods"] == {"a": "words", "b": "more words", "file": "two lines"}
    assert read_rows(path) == ROWS


def test_a_folder_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    old = {"model": {"name": "m"}, "settings": {}, "negative_prompt": None, "scores": {}, "rewrite_seed": 0}
    path.write_text("".join(row.to_line() + "\n" for row in ROWS))
    with pytest.raises(InputError, match="nothing that says of what"):
        MeasurementLog(path, old, kind="evaluation")
    manifest = {"dfprompt": 1, **old, "methods": {"ours": "x"}, "provenance": {"commit": "c"}}
    (tmp_path / "evaluation.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="rewrite_seed differ"):
        MeasurementLog(path, {**old, "rewrite_seed": 1}, kind="evaluation")
    with MeasurementLog(path, old, kind="evaluation", methods={"ours": "x"}) as log:
        assert list(log.rows.values()) == ROWS
    head = json.loads(path.read_text().splitlines()[0])
    assert (head["methods"], head["provenance"]) == ({"ours": "x"}, {"commit": "c"})
    assert read_rows(path) == ROWS


@given(st.text(min_size=1))
def test_method_names_become_distinct_file_names(name: str) -> None:
    made = file_name(name)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
    assert made.strip(".")
    assert file_name(name + "/") != made
