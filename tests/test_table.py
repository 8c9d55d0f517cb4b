"""One table: what is read on a page, by a spreadsheet and on a terminal is the same."""

from __future__ import annotations

import csv
import io
import math

import pytest
from rich.console import Console

from dfprompt.table import Table, format_ends, number

NASTY = "a|b *c* `d` [e](f) <g>\n# h\x1b[31m"


def test_markdown_keeps_its_columns_whatever_a_cell_holds() -> None:
    table = Table("what", number("value"), rows=[(NASTY, 1), ("plain", 2)])
    lines = table.markdown().splitlines()
    assert len(lines) == 4
    assert lines[1] == "|---|---:|"
    assert all(line.replace("\\|", "").count("|") == 3 for line in lines)
    assert "\x1b" not in table.markdown()


def test_csv_reads_back_and_runs_no_formula() -> None:
    values = ["=1+1", "@x", "-x", "+x", NASTY, 'a "quoted", b']
    table = Table("text", number("value"), rows=[(text, -0.1 * at) for at, text in enumerate(values)])
    head, *rows = csv.reader(io.StringIO(table.csv()))
    assert head == ["text", "value"]
    assert [row[0] for row in rows] == ["'=1+1", "'@x", "'-x", "'+x", *values[4:]]
    assert [float(row[1]) for row in rows] == [-0.1 * at for at in range(6)]  # bit for bit, no rounding


@pytest.mark.parametrize("nothing", [None, math.nan])
def test_what_does_not_exist_is_no_number(nothing: float | None) -> None:
    table = Table("a", number("b"), rows=[("x", nothing)])
    assert table.markdown().endswith("| x | - |")
    assert table.csv() == "a,b\nx,\n"


def test_a_terminal_shows_every_cell() -> None:
    stream = io.StringIO()
    table = Table("score", number("mean"), rows=[("a [bold]b[/bold]", 0.5), ("c", None)])
    Console(file=stream, width=60, markup=False).print(table.rich())
    lines = stream.getvalue().splitlines()
    assert [line.split() for line in lines] == [["score", "mean"], ["a", "[bold]b[/bold]", "0.5"], ["c", "-"]]
    assert len({len(line.rstrip()) for line in lines}) == 1  # numbers end at one edge


@pytest.mark.parametrize("width", [30, 40, 60, 80, 200])
def test_no_number_is_cut_or_broken_on_any_terminal(width: int) -> None:
    stream = io.StringIO()
    numbers = ["-0.2531", "+1.5702", "-8.8000 to +5.1234", "17"]
    heads = map(number, ("mean", "to plain", "95 % interval", "won"))
    rows = [("preference", "policy ppo-2", *numbers), ("clip", "", *numbers[:2], None, "")]
    table = Table("score", "prompt", *heads, rows=rows)
    Console(file=stream, width=width, markup=False).print(table.rich())
    shown = stream.getvalue()
    assert "\u2026" not in shown
    assert max(map(len, shown.splitlines())) <= width
    for each, times in (("preference", 1), ("policy ppo-2", 1), ("-0.2531", 2), ("+1.5702", 2)):
        assert shown.count(each) == times
    flat = " ".join(shown.split())
    assert flat.count("-8.8000 to +5.1234") == 1
    assert ("mean -0.2531;" in flat) == (width < 80)  # by name and value where columns have no room


def test_a_row_of_another_width_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="1 cells for 2 columns"):
        Table("a", "b").add("x")


def test_ends_of_an_interval() -> None:
    assert format_ends((-1.0, 0.25)) == "-1.0000 to +0.2500"
    assert format_ends(None, "none") == "none"
