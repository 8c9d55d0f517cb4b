"""A plan on a terminal: one bar per span, as thick as its weight, and the table of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dfprompt.excerpt import columns, printable
from dfprompt.prompt.bars import Bar, make_bars
from dfprompt.prompt.plan import Plan, PlannedStep

_WIDEST_BAR, _NARROWEST_BAR = 40, 10
_WIDEST_WORDS = 26
_GAP = 2
_WIDEST_CELL = 4
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS = "--==##@@"
_COLOURS = ("cyan", "magenta", "yellow", "green", "blue", "red")


def print_plan(console: Console, plan: Plan, *, unicode: bool) -> None:
    """Print the timeline and the table of texts."""
    console.print(_timeline(plan, console.width, unicode=unicode))
    console.print()
    console.print(_texts(plan, unicode=unicode))


def _timeline(plan: Plan, console_width: int, *, unicode: bool) -> Table:
    bars = make_bars(plan)
    room = console_width - _beside(bars)
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    grid.add_column(max_width=_WIDEST_WORDS, no_wrap=True, overflow="ellipsis" if unicode else "crop")
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    width = _bar_width(plan.num_inference_steps, max(_NARROWEST_BAR, min(_WIDEST_BAR, room)))
    heaviest = max([Fraction(2), *(abs(level) for bar in bars for level in bar.levels if level)])
    grid.add_row("", "", Text(_axis("noise", "image", width), style="dim"), "")
    spans = 0
    for bar in bars:
        colour = "default" if bar.is_plain else _COLOURS[spans % len(_COLOURS)]
        spans += not bar.is_plain
        grid.add_row(
            Text(printable(bar.words, ascii_only=not unicode), style=colour),
            Text(bar.weight),
            _draw(bar, width, heaviest, colour, unicode=unicode),
            Text(bar.when, style="dim"),
        )
    grid.add_row(
        "", "", Text(_axis("1", str(plan.num_inference_steps), width), style="dim"), Text("step", "dim")
    )
    return grid


def _beside(bars: Sequence[Bar]) -> int:
    """Return the columns that everything but the bars takes."""
    words = min(_WIDEST_WORDS, max((columns(bar.words) for bar in bars), default=0))
    weight = max((len(bar.weight) for bar in bars), default=0)
    when = max((len(bar.when) for bar in bars), default=0)
    return words + weight + when + 4 * _GAP


def _bar_width(steps: int, room: int) -> int:
    """Whole cells per step while they fit; beyond that several steps share a cell."""
    return steps * min(_WIDEST_CELL, room // steps) if steps <= room else room


def _axis(left: str, right: str, width: int) -> str:
    """Put a word at either end of the bars, or side by side where the bars are shorter."""
    return left if left == right else left + " " * max(1, width - len(left) - len(right)) + right


def _draw(bar: Bar, width: int, heaviest: Fraction, colour: str, *, unicode: bool) -> Text:
    drawn = Text()
    for column in range(width):
        level = _level(bar.levels, column, width)
        if level is None:
            drawn.append(" ")
        elif not level:
            drawn.append("·" if unicode else ".", style="dim")
        else:
            eighth = min(7, max(0, round(abs(level) / heaviest * 8) - 1))
            drawn.append((_BLOCKS if unicode else _ASCII_BLOCKS)[eighth], style=colour)
    return drawn


def _level(levels: Sequence[Fraction | None], column: int, width: int) -> Fraction | None:
    """Return what a cell shows: the first of its steps that acts, so that no short span vanishes."""
    steps = len(levels)
    first = column * steps // width
    shown = levels[first : max(first + 1, (column + 1) * steps // width)]
    return next((level for level in shown if level), shown[0])


def _texts(plan: Plan, *, unicode: bool) -> Table:
    """One row per stretch of steps with the same text; ramps show their first and last weight."""
    table = Table(box=None, padding=(0, _GAP, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("steps", no_wrap=True)
    table.add_column("time left", no_wrap=True)
    table.add_column("text", overflow="fold", ratio=3)
    table.add_column("weights", overflow="fold", ratio=2)
    for text, group in groupby(plan.steps, key=lambda planned: planned.text):
        steps = list(group)
        shown = printable(text, ascii_only=not unicode)
        table.add_row(
            _numbers(steps), _time_left(steps), Text(shown or "(no words)"), Text(_weights(steps, unicode))
        )
    return table


def _numbers(steps: Sequence[PlannedStep]) -> str:
    first, last = steps[0].step + 1, steps[-1].step + 1
    return str(first) if first == last else f"{first}-{last}"


def _time_left(steps: Sequence[PlannedStep]) -> str:
    first, last = (f"{float(step.time_left):.4g}" for step in (steps[0], steps[-1]))
    return first if first == last else f"{first} -> {last}"


def _weights(steps: Sequence[PlannedStep], unicode: bool) -> str:
    """Name each weighted stretch once; within one text the places of the spans do not move."""
    first = {(part.start, part.end): part for part in reversed([w for step in steps for w in step.weights])}
    last = {(part.start, part.end): part.weight for part in steps[-1].weights}
    named = []
    for place in sorted(first):
        begin, end = first[place].weight, last.get(place, Fraction(1))
        ramp = f"{float(begin):.4g}" + ("" if begin == end else f"->{float(end):.4g}")
        named.append(f"{printable(first[place].text.strip(), ascii_only=not unicode)} x{ramp}")
    return ", ".join(named)
