"""Fill the numbers of docs/results.md from the files in experiments/: text and tables cannot drift apart.

Two kinds of marks stand in the page, as comments that a reader does not see:

    <!-- cell: FILE | ROW | COLUMN -->+0.42 (+0.29 to +0.55)<!-- end -->
    <!-- table: FILE | NUMBER -->
    ...
    <!-- end -->

FILE is below experiments/ and is a page with tables (.md) or a table (.csv). ROW is the first cell of a row,
or its first cells between semicolons; of a .csv file it names columns, as method=policy,score=reward. COLUMN
is the head of a column. NUMBER counts a page's tables from 1. Whatever stands between a mark and its end is
replaced.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "results.md"
EXPERIMENTS = ROOT / "experiments"
_MARK = re.compile(r"<!-- (cell|table): ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)
Table = list[list[str]]


def fill(text: str, experiments: Path = EXPERIMENTS) -> str:
    """Return a page with every mark filled; raises SystemExit naming a mark that fits nothing."""

    def filled(mark: re.Match[str]) -> str:
        kind, told = mark[1], [part.strip() for part in mark[2].split("|")]
        try:
            inner = _KINDS[kind](experiments, *told)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise SystemExit(f"docs/results.md: {mark[2]}: {type(error).__name__}: {error}") from error
        return f"<!-- {kind}: {mark[2]} -->{inner}<!-- end -->"

    return _MARK.sub(filled, text)


def _cell(experiments: Path, file: str, row: str, column: str) -> str:
    path = experiments / file
    if path.suffix == ".csv":
        return _of_csv(path, row, column)
    for table in read_tables(path):
        starts = [part.strip() for part in row.split(";")]
        found = [cells for cells in table[1:] if cells[: len(starts)] == starts]
        if column in table[0] and len(found) == 1:
            return found[0][table[0].index(column)]
    raise LookupError(f"no single row {row!r} with a column {column!r}")


def _of_csv(path: Path, row: str, column: str) -> str:
    wanted = dict(part.split("=", 1) for part in row.split(","))
    with path.open(encoding="utf-8", newline="") as file:
        rows = [each for each in csv.DictReader(file) if all(each[k] == v for k, v in wanted.items())]
    if len(rows) != 1:
        raise LookupError(f"{len(rows)} rows with {row}")
    return f"{float(rows[0][column]):+.2f}"


def _table(experiments: Path, file: str, number: str) -> str:
    tables = read_tables(experiments / file)
    head, *rows = tables[int(number) - 1]
    lines = [head, ["---"] * len(head), *rows]
    written = "\n".join("|".join(["", *(f" {cell} " for cell in line), ""]) for line in lines)
    return "\n" + written.replace("| --- ", "|---") + "\n"


def read_tables(path: Path) -> list[Table]:
    """Return the tables of a page, each as its head and its rows."""
    tables: list[Table] = []
    inside = False
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            inside = False
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not inside:
            tables.append([])
            inside = True
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            tables[-1].append(cells)
    return tables


_KINDS: dict[str, Callable[..., str]] = {"cell": _cell, "table": _table}


def main() -> None:
    """Write the page; with --check only say whether it would change."""
    before = PAGE.read_text(encoding="utf-8")
    after = fill(before)
    if "--check" in sys.argv[1:]:
        raise SystemExit("docs/results.md is not what experiments/ say: make docs" if before != after else 0)
    PAGE.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
