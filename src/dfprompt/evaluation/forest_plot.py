"""A forest plot as SVG: every method's difference to plain with its interval, a panel per score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

from dfprompt.evaluation.summary import ScoreLine, Summary
from dfprompt.excerpt import printable
from dfprompt.measurement.rows import PLAIN
from dfprompt.table import format_ends, format_number

_WIDTH, _NAMES, _MARGIN = 360, 116, 12  # narrow enough for a telephone
_ROW, _HEAD, _FOOT = 22, 24, 22
_LONGEST_NAME = 17


def draw_forest(summary: Summary) -> list[tuple[str, str]]:
    """Return (score, SVG) for every reward and judge; scores without a difference are left out.

    The drawing takes its colours from the page: classes `axis`, `better`, `worse` and `unsure`.
    """
    scores = dict.fromkeys(line.score for line in summary.scores if line.role != "part")
    panels = [(score, [line for line in summary.scores if line.score == score]) for score in scores]
    return [(score, _panel(score, lines)) for score, lines in panels if _compared(lines)]


def _compared(lines: Sequence[ScoreLine]) -> list[ScoreLine]:
    return [line for line in lines if line.method != PLAIN and line.comparison is not None]


def _panel(score: str, lines: Sequence[ScoreLine]) -> str:
    shown = _compared(lines)
    low, high = _extent(shown)
    height = _HEAD + _ROW * len(shown) + _FOOT

    def across(value: float) -> float:
        return _NAMES + (value - low) / (high - low) * (_WIDTH - _NAMES - _MARGIN)

    parts = [_text(0, 15, score, "head"), _line(across(0), _HEAD - 4, across(0), height - _FOOT, "axis")]
    for place, line in enumerate(shown):
        parts.append(_row(line, _HEAD + _ROW * (place + 0.5), across))
    for value, anchor in ((low, "start"), (0.0, "middle"), (high, "end")):
        if value == 0.0 or abs(across(value) - across(0)) > 40:
            told = "0" if value == 0.0 else format_number(value, sign=True)
            parts.append(_text(across(value), height - 6, told, "tick", anchor))
    said = escape(printable(f"{score}: difference to plain with 95 % intervals"), quote=True)
    return (
        f'<svg class="forest" viewBox="0 0 {_WIDTH} {height}" role="img" aria-label="{said}">'
        f"{''.join(parts)}</svg>"
    )


def _row(line: ScoreLine, y: float, across: Callable[[float], float]) -> str:
    found = line.comparison
    assert found is not None
    kind, x = "unsure", across(found.difference)
    parts = [_text(0, y + 4, _short(line.method), "name")]
    if found.bounded:
        kind = "better" if found.interval.low > 0 else "worse" if found.interval.high < 0 else "unsure"
        parts.append(_line(across(found.interval.low), y, across(found.interval.high), y, kind))
    told = f"{line.method}: {format_number(found.difference, sign=True)}"
    told += f" ({format_ends(found.interval.to_json())})"
    parts.append(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
    return f"<g><title>{escape(printable(told))}</title>{''.join(parts)}</g>"


def _extent(lines: Sequence[ScoreLine]) -> tuple[float, float]:
    """Return the ends of the axis: 0 and every interval, with some room."""
    ends = [0.0]
    for line in lines:
        if line.comparison is not None:
            ends += [line.comparison.difference]
            ends += line.comparison.interval.to_json() or []
    low, high = min(ends), max(ends)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1] + "…"


def _text(x: float, y: float, text: str, kind: str, anchor: str = "start") -> str:
    said = escape(printable(text))
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{said}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
