"""One table, three ways to read it: markdown on a page, CSV for programs, rich on a terminal."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfprompt.excerpt import printable

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table as RichTable

ABSENT = "-"


@dataclass(frozen=True)
class Column:
    """A column by its title; numbers stand to the right."""

    title: str
    number: bool = False


def number(title: str) -> Column:
    """Return a column of numbers."""
    return Column(title, number=True)


class Table:
    """Rows of cells under columns; a title alone is a column of text.

    A cell is anything with a text; None, and a number that is none, is shown as a dash and is an empty field.

    >>> table = Table("method", number("mean"))
    >>> table.add("a|b", 0.5)
    >>> table.add("none", None)
    >>> print(table.markdown())
    | method | mean |
    |---|---:|
    | a\\|b | 0.5 |
    | none | - |
    >>> print(table.csv(), end="")
    method,mean
    a|b,0.5
    none,
    """

    def __init__(self, *columns: Column | str, rows: Iterable[Sequence[object]] = ()) -> None:
        self.columns = [Column(each) if isinstance(each, str) else each for each in columns]
        self.rows: list[tuple[object, ...]] = []
        for row in rows:
            self.add(*row)

    def add(self, *cells: object) -> None:
        """Add a row; raises ValueError where it has not a cell per column."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns: {cells}")
        self.rows.append(cells)

    def markdown(self) -> str:
        """Return the table for a page: what markdown would take for structure is escaped."""
        rule = "|".join("---:" if column.number else "---" for column in self.columns)
        heads = _line([column.title for column in self.columns])
        return "\n".join([heads, f"|{rule}|", *(_line([_shown(cell) for cell in row]) for row in self.rows)])

    def csv(self) -> str:
        """Return the table with a head and unrounded numbers, a line per row."""
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow([column.title for column in self.columns])
        writer.writerows([_field(cell) for cell in row] for row in self.rows)
        return stream.getvalue()

    def rich(self) -> Shown:
        """Return the table for a terminal: without lines, or a row per paragraph where it is too narrow."""
        return Shown(self)


class Shown:
    """A table as rich prints it: columns while every number stands in one line, else names and values."""

    LEAST = 16  # characters in which a column of text can still be read

    def __init__(self, table: Table) -> None:
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [
            longest if column.number else min(self.LEAST, longest) for column, longest in self._longest()
        ]
        needed = sum(widths) + 2 * len(widths)  # a blank on either side
        yield self._grid() if needed <= options.max_width else self._paragraphs(console)

    def _longest(self) -> Iterator[tuple[Column, int]]:
        for at, column in enumerate(self.table.columns):
            yield column, max(len(column.title), *(len(_shown(row[at])) for row in self.table.rows), 0)

    def _grid(self) -> RichTable:
        import rich.table

        shown = rich.table.Table(box=None)
        for column in self.table.columns:
            if column.number:
                shown.add_column(column.title, justify="right", no_wrap=True)
            else:
                shown.add_column(column.title, overflow="fold")
        for row in self.table.rows:
            shown.add_row(*(_shown(cell) for cell in row))
        return shown

    def _paragraphs(self, console: Console) -> RenderableType:
        import rich.console
        import rich.padding

        parts: list[RenderableType] = []
        for row in self.table.rows:
            said = ("" if _absent(cell) else str(cell) for cell in row)
            cells = list(zip(self.table.columns, said, strict=True))
            texts = ", ".join(cell for column, cell in cells if cell and not column.number)
            numbers = "; ".join(f"{column.title} {cell}" for column, cell in cells if cell and column.number)
            parts += [
                console.render_str(texts),
                rich.padding.Padding(console.render_str(numbers), (0, 0, 0, 2)),
            ]
        return rich.console.Group(*parts)


def escape_markdown(text: str) -> str:
    """Return one line in which what markdown would take for structure is escaped.

    >>> print(escape_markdown("a *b* [c]"))
    a \\*b\\* \\[c]
    """
    flat = printable(" ".join(text.split()))
    return "".join(f"\\{letter}" if letter in "\\|`*_<[#" else letter for letter in flat)


def format_number(value: float, *, sign: bool = False) -> str:
    """Return a number with four decimals, or four significant digits where it is small.

    >>> format_number(0.25, sign=True), format_number(-12.3456789), format_number(0.00012345)
    ('+0.2500', '-12.3457', '0.0001234')
    """
    shown = f"{value:.4f}" if value == 0 or abs(value) >= 0.001 else f"{value:.4g}"
    return f"+{shown}" if sign and value >= 0 else shown


def format_ends(ends: Sequence[float] | None, none: str = "too few") -> str:
    """Return both ends of an interval; `none` where there is none.

    >>> format_ends([-0.5, 1.0]), format_ends(None)
    ('-0.5000 to +1.0000', 'too few')
    """
    return none if ends is None else " to ".join(format_number(end, sign=True) for end in ends)


def format_p(p: float) -> str:
    """Return a p-value with three decimals.

    >>> format_p(0.04999), format_p(0.0002)
    ('0.050', '< 0.001')
    """
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(escape_markdown(cell) for cell in cells) + " |"


def _absent(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _shown(cell: object) -> str:
    return ABSENT if _absent(cell) else str(cell)


def _field(cell: object) -> object:
    """Empty for what does not exist; a quote goes before text that a spreadsheet would run as a formula."""
    if _absent(cell):
        return ""
    if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@"):
        return f"'{cell}"
    return cell
