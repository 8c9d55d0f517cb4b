"""Fill the numbers of the pages from the files in experiments/: text and tables cannot drift apart.

Marks stand in README and docs/ as comments that a reader does not see:

    <!-- cell: FILE | ROW | COLUMN -->+0.42 (+0.29 to +0.55)<!-- end -->
    <!-- table: FILE | NUMBER -->                     or | NUMBER | COLUMN; COLUMN = HEAD; ...
    <!-- contrasts: FILE | NUMBER -->                 or | NUMBER | CONTRAST; CONTRAST; ...
    <!-- methods: FILE | NUMBER -->
    ...
    <!-- end -->

FILE is below experiments/ and is a page with tables (.md) or a table (.csv). ROW is the first cell of a row,
or its first cells between semicolons; of a .csv file it names columns, as method=policy,score=reward. COLUMN
is the head of a column. NUMBER counts a page's tables from 1. `contrasts` turns a table with a row per
contrast and score into one with a row per contrast, `methods` shortens the table of all methods; both say
fidelity in points. Whatever stands between a mark and its end is replaced.

Figures in running text without a mark must stand in a table of their page or in a file of experiments/, as
they are or rounded: `unfounded` lists those that do not, and the build fails.
"""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXPERIMENTS = ROOT / "experiments"
# Their figures are held to the stored ones; other pages may have marks.
FOUNDED = (ROOT / "docs" / "results.md", ROOT / "README.md", ROOT / "docs" / "concepts.md")
SCORES = {"reward": "reward", "taste": "raters' formula", "fidelity": "fidelity, points"}
_MARK = re.compile(r"<!-- (cell|table|contrasts|methods): ([^>]+?) -->(.*?)<!-- end -->", re.DOTALL)
_NO_PROSE = re.compile(r"^```.*?^```$|`[^`\n]*`|\]\([^)]*\)|arXiv \S+", re.MULTILINE | re.DOTALL)
_INTERVAL = re.compile(
    r"([+-]?\d+\.\d+)(?: points)?(?: \||,| [(\[]) ?([+-]?\d+\.\d+)(?: to |, (?=[^]\n]*\]))([+-]?\d+\.\d+)"
)
_NUMBER = re.compile(r"(?<![\w.])[+-]?\d+\.\d+")
_FIGURE = re.compile(r"(?<![\w.,])[+-]?\d+(?:\.\d+)?(?: %)?(?![\w.,]*\d)")
Table = list[list[str]]


def fill(text: str, experiments: Path = EXPERIMENTS, page: str = "docs/results.md") -> str:
    """Return a page with every mark filled; raises SystemExit naming a mark that fits nothing."""

    def filled(mark: re.Match[str]) -> str:
        kind, told = mark[1], [part.strip() for part in mark[2].split("|")]
        try:
            inner = _KINDS[kind](experiments, *told)
        except (OSError, LookupError, TypeError, ValueError) as error:
            raise SystemExit(f"{page}: {mark[2]}: {type(error).__name__}: {error}") from error
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


def _table(experiments: Path, file: str, number: str, columns: str = "") -> str:
    head, *rows = read_tables(experiments / file)[int(number) - 1]
    if not columns:
        return _written([head, *rows])
    told = [
        (name.strip(), new.strip()) for name, _, new in (each.partition(" = ") for each in columns.split(";"))
    ]
    places = [head.index(name) for name, _ in told]
    return _written([[new or name for name, new in told], *([row[at] for at in places] for row in rows)])


def _contrasts(experiments: Path, file: str, number: str, names: str = "") -> str:
    head, *rows = read_tables(experiments / file)[int(number) - 1]
    found: dict[str, dict[str, dict[str, str]]] = {}
    for row in rows:
        said = dict(zip(head, row, strict=True))
        found.setdefault(said["contrast"], {})[said["score"]] = said
    made = [["contrast", "reward", "by training seed", "won", SCORES["taste"], SCORES["fidelity"]]]
    for name in [each.strip() for each in names.split(";")] if names else found:
        scores = found[name]
        each = {
            score: _shorter(f"{scores[score]['difference']} ({scores[score]['95 % interval']})", score)
            for score in SCORES
        }
        seeds = _shorter(scores["reward"]["training seeds"], "reward")
        won = scores["reward"]["won"].replace("%", " %")
        made.append([name, each["reward"], seeds, won, each["taste"], each["fidelity"]])
    return _written(made)


def _methods(experiments: Path, file: str, number: str) -> str:
    head, *rows = read_tables(experiments / file)[int(number) - 1]
    made = [["method", "reward minus plain", "won", SCORES["taste"], "won", SCORES["fidelity"], head[-1]]]
    for row in rows:
        if row[0] != "plain":
            at = {score: row[head.index(score) + 1 : head.index(score) + 3] for score in SCORES}
            figures = {score: _shorter(difference, score) for score, (difference, _) in at.items()}
            won = {score: share.replace("%", " %") for score, (_, share) in at.items()}
            cells = [figures["reward"], won["reward"], figures["taste"], won["taste"], figures["fidelity"]]
            made.append([row[0], *cells, row[-1]])
    return _written(made)


def _shorter(text: str, score: str) -> str:
    """Round what a table of experiments says: two places, or points of fidelity with one."""
    points = score == "fidelity"
    return _NUMBER.sub(lambda n: f"{float(n[0]) * 100:+.1f}" if points else f"{float(n[0]):+.2f}", text)


def _written(rows: Table) -> str:
    lines = [rows[0], ["---"] * len(rows[0]), *rows[1:]]
    written = "\n".join("|".join(["", *(f" {cell} " for cell in line), ""]) for line in lines)
    return "\n" + written.replace("| --- ", "|---") + "\n"


def read_tables(path: Path) -> list[Table]:
    """Return the tables of a page, each as its head and its rows."""
    return list(_tables(path.read_text(encoding="utf-8")))


def _tables(text: str) -> Iterator[Table]:
    table: Table = []
    for line in [*text.splitlines(), ""]:
        if not line.startswith("|"):
            if table:
                yield table
            table = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not all(re.fullmatch(r":?-+:?", cell) for cell in cells):
            table.append(cells)


_KINDS: dict[str, Callable[..., str]] = {
    "cell": _cell,
    "table": _table,
    "contrasts": _contrasts,
    "methods": _methods,
}


def unfounded(text: str, experiments: Path = EXPERIMENTS) -> list[str]:
    """Return the tables that no mark fills, and the figures of running text that nothing stored says."""
    outside = _MARK.sub("", text)
    typed = [" | ".join(table[0]) for table in _tables(outside) if _NUMBER.search(str(table[1:]))]
    known = _said(text_of_marks(text)) | _stored(experiments)
    prose = _NO_PROSE.sub(" ", "\n".join(line for line in outside.splitlines() if not line.startswith("|")))
    figures = [f for f in _FIGURE.findall(prose) if "." in f or f.endswith("%")]
    figures += [" ".join(found) for found in _INTERVAL.findall(prose)]
    return typed + [figure for figure in figures if re.sub(r"[+-]| %", "", figure) not in known]


def text_of_marks(text: str) -> str:
    """Return what the marks of a page hold."""
    return "\n".join(mark[3] for mark in _MARK.finditer(text))


@lru_cache
def _stored(experiments: Path) -> frozenset[str]:
    paths = [*experiments.rglob("*.md"), *experiments.rglob("*.json")]
    return frozenset().union(*(_said(path.read_text(encoding="utf-8")) for path in paths))


def _said(text: str) -> frozenset[str]:
    """Return the figures of a text without their signs, as they stand and rounded, as shares and as points.

    A figure with its interval is one: all three belong together.
    """
    found: set[str] = set()
    for figure in [*_INTERVAL.findall(text), *re.findall(r"\d+(?:\.\d+)?", _INTERVAL.sub(" ", text))]:
        told = [abs(float(each)) for each in ([figure] if isinstance(figure, str) else figure)]
        for scale, places in ((1, 3), (1, 2), (1, 1), (1, 0), (100, 1), (100, 0)):
            found.add(" ".join(f"{value * scale:.{places}f}" for value in told))
            if len(told) == 3:  # a loss is told by its size as well
                shown = [f"{value * scale:.{places}f}" for value in told]
                found.update([*shown, " ".join([shown[0], shown[2], shown[1]])])
    return frozenset(found)


def main() -> None:
    """Write the pages; with --check only say whether they would change."""
    wrong = []
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]:
        before = path.read_text(encoding="utf-8")
        page = str(path.relative_to(ROOT))
        after = fill(before, page=page)
        if path in FOUNDED:
            wrong += [f"{page}: no file of experiments/ says: {each}" for each in unfounded(after)]
        if "--check" not in sys.argv[1:]:
            path.write_text(after, encoding="utf-8")
        elif before != after:
            wrong.append(f"{page} is not what experiments/ say: make docs")
    if wrong:
        raise SystemExit("\n".join(wrong))


if __name__ == "__main__":
    main()
