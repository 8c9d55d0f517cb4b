"""When words act, as a strip of bars under a row of pictures: one bar per span, as thick as its weight."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import groupby

from PIL import Image, ImageDraw

from dfprompt.images.grid import fit_text, write_text
from dfprompt.prompt.bars import Bar, make_bars
from dfprompt.prompt.plan import Plan

_ROW, _SIZE, _GAP = 26, 15, 12
_WORDS = 0.28  # share of the width that the words take
_INK, _PALE, _GRID, _PLAIN = "#1f2328", "#656d76", "#d9dee8", "#a9b2c3"
_COLOURS = ("#2f6fde", "#c2417c", "#2a9d6f", "#d9822b", "#7a55c7", "#c8483a")


def draw_strip(
    plan: Plan, width: int, heaviest: Fraction | None = None, *, axis: bool = False
) -> Image.Image:
    """Return the bars of a plan on white, `width` pixels wide, time running from noise (left) to image.

    `heaviest` is the weight of the thickest bar, for strips that are compared; by default the plan's own.
    With `axis` a line above the bars says which end is noise and which the finished image.

    >>> from dfprompt.prompt import make_plan, parse_prompt
    >>> draw_strip(make_plan(parse_prompt("a cat, [snow:late]"), 4), 400).size
    (400, 52)
    """
    bars = make_bars(plan)
    most = heaviest or max_weight([plan])
    strip = Image.new("RGB", (width, max(1, _ROW * (len(bars) + axis))), "#ffffff")
    pen = ImageDraw.Draw(strip)
    left, spans = round(width * _WORDS), 0
    if axis:
        for words, place in (("noise", left), ("time", (left + width) // 2 - 16), ("image", width - 44)):
            write_text(pen, words, (place, 3), _SIZE, _PALE)
    for row, bar in enumerate(bars, int(axis)):
        middle = row * _ROW + _ROW // 2
        words = f"{bar.words} {bar.weight}".strip()
        write_text(pen, fit_text(words, _SIZE, left - _GAP), (0, middle - _SIZE * 0.65), _SIZE, _INK)
        pen.line([(left, middle), (width, middle)], fill=_GRID, width=1)
        colour = _PLAIN if bar.is_plain else _COLOURS[spans % len(_COLOURS)]
        spans += not bar.is_plain
        for box in _boxes(bar, left, width, middle, most):
            pen.rounded_rectangle(box, radius=4, fill=colour)
    return strip


def max_weight(plans: Sequence[Plan]) -> Fraction:
    """Return the greatest weight of any bar, at least 1: what the thickest bar stands for."""
    levels = (abs(level) for plan in plans for bar in make_bars(plan) for level in bar.levels if level)
    return max([Fraction(1), *levels])


def _boxes(
    bar: Bar, left: int, right: int, middle: int, heaviest: Fraction
) -> list[tuple[float, float, float, float]]:
    """Return a box per stretch of steps with one weight; a step without the words has none."""
    steps, boxes, start = len(bar.levels), [], 0
    for level, group in groupby(bar.levels):
        end = start + len(list(group))
        if level:
            half = max(1.5, float(abs(level) / heaviest) * (_ROW - 8) / 2)
            first, last = (left + (right - left) * each / steps for each in (start, end))
            boxes.append((first + 1, middle - half, last - 1, middle + half))
        start = end
    return boxes
