"""A plan as a picture: an SVG file that needs no font, no script and no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from html import escape
from itertools import groupby

from dfprompt.excerpt import columns, printable
from dfprompt.prompt.bars import Bar, make_bars
from dfprompt.prompt.plan import Plan

_WIDTH, _MARGIN, _ROW = 860, 28, 54
_LEFT, _RIGHT = 262, 800  # the bars
_TOP = 92
_COLOURS = ("#2f6fde", "#c2417c", "#2a9d6f", "#d9822b", "#7a55c7", "#c8483a")
_INK, _PALE, _PLAIN, _GRID = "#1d2433", "#6b7488", "#98a2b8", "#e4e8f0"
_FONT = "ui-sans-serif, system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif"
_MONO = "ui-monospace, SFMono-Regular, Menlo, Consolas, monospace"


def draw_plan(plan: Plan) -> str:
    """Return an SVG picture of a plan: one bar per span, as thick as its weight at each step.

    >>> from dfprompt.prompt import make_plan, parse_prompt
    >>> draw_plan(make_plan(parse_prompt("a cat, [snow:late]"), 4)).startswith("<svg")
    True
    """
    bars = make_bars(plan)
    height = _TOP + _ROW * len(bars) + 44
    body = [*_frame(plan, height, len(bars))]
    spans = 0
    heaviest = max([Fraction(1), *(abs(level) for bar in bars for level in bar.levels if level)])
    for row, bar in enumerate(bars):
        colour = _PLAIN if bar.is_plain else _COLOURS[spans % len(_COLOURS)]
        spans += not bar.is_plain
        body += _row(bar, _TOP + row * _ROW, colour, heaviest)
    size = f'viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" font-family="{_FONT}">'
    return "\n".join([head, *body, "</svg>", ""])


def _frame(plan: Plan, height: int, rows: int) -> Iterator[str]:
    """The card, the prompt as its title, the axis from noise to image and a line per step."""
    prompt = _shorten(str(plan.prompt), 102)
    bottom = _TOP + rows * _ROW
    yield f"<title>{prompt}</title>"
    yield (
        '<defs><linearGradient id="noise"><stop offset="0" stop-color="#8b93a7"/>'
        '<stop offset="1" stop-color="#f2b84b"/></linearGradient></defs>'
    )
    yield f'<rect width="{_WIDTH}" height="{height}" rx="14" fill="#ffffff" stroke="{_GRID}"/>'
    yield _text(_MARGIN, 40, prompt, 13, _INK, f'font-family="{_MONO}"')
    yield f'<rect x="{_LEFT}" y="66" width="{_RIGHT - _LEFT}" height="6" rx="3" fill="url(#noise)"/>'
    yield _text(_LEFT - 10, 73, "noise", 12, _PALE, 'text-anchor="end"')
    yield _text(_RIGHT + 10, 73, "image", 12, _PALE)
    steps = plan.num_inference_steps
    every = max(1, -(-steps // 20))
    for step in range(0, steps + 1, every):
        x = _x(step, steps)
        yield f'<line x1="{x:.1f}" y1="{_TOP - 8}" x2="{x:.1f}" y2="{bottom}" stroke="{_GRID}"/>'
    for step in range(0, steps, every):
        middle = (_x(step, steps) + _x(step + 1, steps)) / 2
        yield _text(middle, bottom + 20, str(step + 1), 11, _PALE, 'text-anchor="middle"')
    yield _text(_LEFT - 10, bottom + 20, "step", 11, _PALE, 'text-anchor="end"')


def _row(bar: Bar, top: int, colour: str, heaviest: Fraction) -> Iterator[str]:
    middle = top + _ROW / 2
    weight = escape(bar.weight.replace("->", " → ").replace("x", "×", 1))
    words = _shorten(bar.words, 25 - columns(bar.weight))
    strong = f'{words} <tspan fill="{colour}">{weight}</tspan>' if weight else words
    yield _text(_MARGIN, middle - 3, strong, 14.5, _INK, 'font-weight="600"')
    yield _text(_MARGIN, middle + 14, _shorten(bar.when, 40), 11.5, _PALE)
    ends = f'x1="{_LEFT}" y1="{middle}" x2="{_RIGHT}" y2="{middle}"'
    yield f'<line {ends} stroke="{_GRID}" stroke-dasharray="2 4"/>'
    for start, levels in _runs(bar.levels):
        yield _bar(start, levels, len(bar.levels), middle, colour, heaviest)


def _runs(levels: Sequence[Fraction | None]) -> Iterator[tuple[int, list[Fraction]]]:
    """Yield each stretch of steps where the words act: its first step and its weights."""
    for acts, group in groupby(enumerate(levels), key=lambda item: bool(item[1])):
        if acts:
            stretch = list(group)
            yield stretch[0][0], [level for _, level in stretch if level]


def _bar(
    start: int, levels: Sequence[Fraction], steps: int, middle: float, colour: str, heaviest: Fraction
) -> str:
    """One stretch as a band whose half height is the weight; steps of a ramp are its corners."""
    halves = [float(abs(level) / heaviest) * (_ROW - 16) / 2 for level in levels]
    if len(set(levels)) == 1:
        x, half = _x(start, steps) + 1.5, halves[0]
        width = _x(start + len(levels), steps) - 1.5 - x
        return (
            f'<rect x="{x:.1f}" y="{middle - half:.1f}" width="{width:.1f}" height="{2 * half:.1f}" '
            f'rx="{min(6, half):.1f}" fill="{colour}" fill-opacity="0.88"/>'
        )
    edges = [(_x(start + at, steps), _x(start + at + 1, steps), half) for at, half in enumerate(halves)]
    upper = [(x, middle - half) for left, right, half in edges for x in (left, right)]
    lower = [(x, middle + half) for left, right, half in reversed(edges) for x in (right, left)]
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *lower])
    return f'<polygon points="{points}" fill="{colour}" fill-opacity="0.88"/>'


def _x(step: int, steps: int) -> float:
    return _LEFT + (_RIGHT - _LEFT) * step / steps


def _text(x: float, y: float, words: str, size: float, fill: str, more: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{fill}" {more}>{words}</text>'


def _shorten(text: str, limit: int) -> str:
    """Cut to a number of columns and escape for XML; controls and lone surrogates are shown escaped."""
    shown = printable(text[: 2 * limit])
    if columns(shown) > limit or len(text) > 2 * limit:
        while columns(shown) > limit - 1:
            shown = shown[:-1]
        shown += "…"
    return escape(shown)
