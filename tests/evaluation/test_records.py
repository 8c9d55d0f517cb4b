"""Rows in a file: exact round trips, half-written lines, doubles, two writers."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import EvaluationError
from dfprompt.evaluation.records import Row, RowFile, parse_row, read_rows
from dfprompt.evaluation.rewrites import file_name

ROWS = [
    Row("plain", "a", "a cat", 0, 17, "a cat", "p/a.png", {"clip": 0.25}, {}, 1, 0.5),
    Row("plain", "a", "a cat", 1, failed={"method": "broken"}),
    Row("ours", "b", "日本 \ud800", 0, scores={"clip": -1e-9}),
]


def _write(path: Path, rows: list[Row]) -> None:
    with RowFile(path) as file:
        file.append(rows)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    _write(path, ROWS)
    assert read_rows(path) == ROWS
    assert path.read_bytes().isascii()


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False), st.integers(0, 2**48))
def test_any_text_and_number_survives(text: str, score: float, noise: int) -> None:
    row = Row("m", text, text, 3, noise, text, scores={text: score})
    assert parse_row(row.to_line(), "here") == row
    assert row.to_line().count("\n") == 1


def test_every_cut_of_the_last_line_loses_that_row_alone(tmp_path: Path) -> None:
    whole = "".join(row.to_line() for row in ROWS).encode()
    start = len(whole) - len(ROWS[-1].to_line())
    path = tmp_path / "rows.jsonl"
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        assert read_rows(path) == ROWS[:2]
        with RowFile(path) as file:
            assert list(file.rows.values()) == ROWS[:2]
            file.append([ROWS[2]])
        assert path.read_bytes() == whole


def test_a_row_is_never_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    _write(path, ROWS)
    with RowFile(path) as file, pytest.raises(EvaluationError, match="already"):
        file.append([ROWS[0]])
    path.write_bytes(path.read_bytes() * 2)
    with pytest.raises(EvaluationError, match=r"line 4: .*twice"):
        read_rows(path)


@pytest.mark.parametrize("line", ["nonsense", "[]", '{"method": 1}', '{"method": "a", "prompt_id": "b"}', ""])
def test_a_damaged_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(ROWS[0].to_line() + line + "\n")
    with pytest.raises(EvaluationError, match="line 2"):
        read_rows(path)


def test_fields_of_a_later_version_are_let_through() -> None:
    line = ROWS[0].to_line().replace('{"method"', '{"later": [1], "method"', 1)
    assert parse_row(line, "here") == ROWS[0]


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    with RowFile(tmp_path / "rows.jsonl"):
        with pytest.raises(EvaluationError, match="another evaluation"):
            RowFile(tmp_path / "rows.jsonl")
    RowFile(tmp_path / "rows.jsonl").close()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_row_carries_a_score_that_is_no_number(value: float, tmp_path: Path) -> None:
    with RowFile(tmp_path / "rows.jsonl") as file, pytest.raises(EvaluationError, match="finite"):
        file.append([Row("m", "a", "a", 0, scores={"clip": value})])


def test_failed_rows_can_be_dropped_and_written_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    _write(path, ROWS)
    with RowFile(path) as file:
        assert file.drop_failed() == 1
        assert file.drop_failed() == 0
        with pytest.raises(EvaluationError, match="another evaluation"):
            RowFile(path)
        again = Row("plain", "a", "a cat", 1, scores={"clip": 1.0})
        file.append([again])
    assert read_rows(path) == [ROWS[0], ROWS[2], again]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EvaluationError, match="cannot write"):
        RowFile(tmp_path / "file" / "rows.jsonl")


@given(st.text(min_size=1))
def test_method_names_become_distinct_file_names(name: str) -> None:
    made = file_name(name)
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_")
    assert made.strip(".")
    assert file_name(name + "/") != made
