"""The twelve subjects, each drawn in its own coordinates: centre 0, 0, about 1 from middle to edge."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from dfprompt.mini.canvas import (
    Colour,
    Field,
    Layer,
    box,
    circle,
    ellipse,
    intersection,
    mix,
    polygon,
    segment,
    subtract,
    union,
)

_INK = (0.10, 0.09, 0.14)
_CREAM = (1.0, 0.95, 0.84)
_WOOD = (0.45, 0.29, 0.17)
_LEAF = (0.16, 0.48, 0.22)


class Brush:
    """Draws a subject's parts: lit from the upper left, and outlined so that it reads on anything."""

    def __init__(self, layer: Layer, x: Field, y: Field, scale: float) -> None:
        self.layer, self.x, self.y, self.scale = layer, x, y, scale

    def part(self, distance: Field, colour: Colour, *, outline: float = 0.07, shading: float = 0.30) -> None:
        """Fill one part; the distance is in the subject's own units."""
        base = np.asarray(colour, np.float32)
        light = np.clip(0.5 - 0.42 * self.x - 0.55 * self.y, 0, 1)
        body = mix(base * (1 - shading), base + (1 - base) * shading * 0.8, light)
        if outline:
            self.layer.fill(
                (distance - outline) * self.scale, base * 0.38 + np.asarray(_INK, np.float32) * 0.1
            )
        self.layer.fill(distance * self.scale, body)

    def mark(self, distance: Field, colour: Colour, opacity: float = 1.0) -> None:
        """A small flat detail: an eye, a window, a stripe."""
        self.layer.fill(distance * self.scale, colour, opacity)

    def eyes(self, left: float, right: float, height: float, radius: float = 0.09) -> None:
        for at in (left, right):
            self.mark(circle(self.x - at, self.y - height, radius), _INK)
            self.mark(circle(self.x - at + 0.03, self.y - height + 0.035, radius * 0.38), (1, 1, 1))


def _ball(b: Brush, colour: Colour) -> None:
    whole = circle(b.x, b.y, 0.86)
    b.part(whole, colour)
    band = intersection(whole, np.abs(b.y + 0.30 * b.x**2 - 0.12) - 0.15)
    b.mark(band, _CREAM)
    b.mark(ellipse(b.x + 0.34, b.y + 0.44, 0.20, 0.13), (1, 1, 1), 0.75)


def _star(b: Brush, colour: Colour) -> None:
    radii = (1.0, 0.46)
    turns = [(-math.pi / 2 + i * math.pi / 5, radii[i % 2]) for i in range(10)]
    points = [(r * math.cos(t), r * math.sin(t) + 0.05) for t, r in turns]
    b.part(polygon(b.x, b.y, points) - 0.05, colour)
    b.eyes(-0.17, 0.17, -0.05)


def _heart(b: Brush, colour: Colour) -> None:
    lobes = union(circle(b.x - 0.43, b.y + 0.32, 0.47), circle(b.x + 0.43, b.y + 0.32, 0.47))
    tip = polygon(b.x, b.y, [(-0.87, -0.16), (0.87, -0.16), (0.0, 0.95)])
    middle = box(b.x, b.y + 0.22, 0.43, 0.22)
    b.part(union(lobes, tip - 0.03, middle), colour)
    b.mark(ellipse(b.x + 0.48, b.y + 0.46, 0.17, 0.12), (1, 1, 1), 0.7)


def _house(b: Brush, colour: Colour) -> None:
    b.part(box(b.x - 0.42, b.y + 0.62, 0.11, 0.30), (0.52, 0.40, 0.36))
    b.part(box(b.x, b.y - 0.38, 0.66, 0.52), colour)
    roof = polygon(b.x, b.y, [(-0.90, -0.10), (0.90, -0.10), (0.0, -0.92)])
    b.part(roof, np.asarray(colour, np.float32) * 0.62)
    b.mark(box(b.x, b.y - 0.60, 0.15, 0.30), _WOOD)
    for at in (-0.40, 0.40):
        b.mark(box(b.x - at, b.y - 0.28, 0.14, 0.15), (0.99, 0.92, 0.60))
        b.mark(union(box(b.x - at, b.y - 0.28, 0.02, 0.15), box(b.x - at, b.y - 0.28, 0.14, 0.02)), _WOOD)


def _tree(b: Brush, colour: Colour) -> None:
    b.part(box(b.x, b.y - 0.66, 0.15, 0.34), _WOOD)
    crown = union(
        circle(b.x, b.y + 0.42, 0.52),
        circle(b.x + 0.42, b.y + 0.02, 0.42),
        circle(b.x - 0.42, b.y + 0.02, 0.42),
        circle(b.x, b.y - 0.06, 0.44),
    )
    b.part(crown, colour)
    for px, py in ((-0.35, -0.05), (0.30, 0.10), (0.05, -0.55), (0.42, -0.22), (-0.12, 0.22)):
        b.mark(circle(b.x - px, b.y - py, 0.09), mix(colour, _CREAM, 0.7))


def _mushroom(b: Brush, colour: Colour) -> None:
    b.part(box(b.x, b.y - 0.48, 0.27, 0.46, 0.16), _CREAM)
    cap = intersection(ellipse(b.x, b.y - 0.12, 0.95, 0.98), b.y - 0.14)
    b.part(cap, colour)
    for px, py, r in ((-0.42, -0.22, 0.16), (0.12, -0.50, 0.17), (0.52, -0.14, 0.14), (-0.02, -0.08, 0.11)):
        b.mark(circle(b.x - px, b.y - py, r), _CREAM)


def _fish(b: Brush, colour: Colour) -> None:
    tail = polygon(b.x, b.y, [(0.45, 0.0), (1.0, -0.52), (0.86, 0.0), (1.0, 0.52)])
    b.part(tail - 0.03, np.asarray(colour, np.float32) * 0.8)
    fin = polygon(b.x, b.y, [(-0.30, -0.40), (0.28, -0.40), (0.16, -0.82)])
    b.part(fin - 0.03, np.asarray(colour, np.float32) * 0.8)
    b.part(ellipse(b.x + 0.14, b.y, 0.78, 0.54), colour)
    for at in (-0.10, 0.20):
        b.mark(np.abs(np.hypot(b.x - at - 0.45, b.y) - 0.5) - 0.045 + 0.1 * np.abs(b.y), _CREAM, 0.8)
    b.mark(circle(b.x + 0.54, b.y + 0.12, 0.16), (1, 1, 1))
    b.mark(circle(b.x + 0.57, b.y + 0.12, 0.09), _INK)


def _boat(b: Brush, colour: Colour) -> None:
    b.mark(box(b.x, b.y + 0.20, 0.05, 0.75), _WOOD)
    b.part(polygon(b.x, b.y, [(0.10, -0.92), (0.10, 0.28), (0.76, 0.28)]), _CREAM, outline=0.05)
    b.part(polygon(b.x, b.y, [(-0.10, -0.66), (-0.10, 0.28), (-0.62, 0.28)]), _CREAM, outline=0.05)
    hull = polygon(b.x, b.y, [(-0.98, 0.40), (0.98, 0.40), (0.62, 0.92), (-0.62, 0.92)])
    b.part(hull - 0.02, colour)
    b.mark(box(b.x, b.y - 0.54, 0.74, 0.045), _CREAM)


def _flower(b: Brush, colour: Colour) -> None:
    b.mark(segment(b.x, b.y, (0.0, 0.1), (0.02, 1.0), 0.07), _LEAF)
    b.mark(ellipse(b.x - 0.25, b.y - 0.74, 0.24, 0.10), _LEAF)
    b.mark(ellipse(b.x + 0.23, b.y - 0.86, 0.22, 0.09), _LEAF)
    turns = [i * math.tau / 6 + 0.3 for i in range(6)]
    petals = [circle(b.x - 0.42 * math.cos(t), b.y + 0.28 - 0.42 * math.sin(t), 0.29) for t in turns]
    b.part(union(*petals), colour)
    b.part(circle(b.x, b.y + 0.28, 0.23), (0.99, 0.80, 0.25), outline=0.04)


def _moon(b: Brush, colour: Colour) -> None:
    crescent = subtract(circle(b.x, b.y, 0.92), circle(b.x - 0.44, b.y + 0.14, 0.70))
    b.part(crescent, colour)
    for px, py, r in ((-0.62, -0.16, 0.10), (-0.50, 0.36, 0.13), (-0.08, 0.68, 0.10)):
        b.mark(circle(b.x - px, b.y - py, r), np.asarray(colour, np.float32) * 0.72)


def _cat(b: Brush, colour: Colour) -> None:
    b.part(segment(b.x, b.y, (0.40, 0.78), (0.86, 0.20), 0.11), colour)
    b.part(ellipse(b.x, b.y - 0.52, 0.52, 0.46), colour)
    for side in (-1, 1):
        ear = [(side * 0.56, -0.98), (side * 0.12, -0.62), (side * 0.58, -0.36)]
        b.part(polygon(b.x, b.y, ear) - 0.03, colour)
    b.part(ellipse(b.x, b.y + 0.34, 0.60, 0.48), colour, outline=0.05)
    b.eyes(-0.24, 0.24, -0.40, 0.10)
    b.mark(polygon(b.x, b.y, [(-0.08, -0.22), (0.08, -0.22), (0.0, -0.12)]), (0.95, 0.5, 0.55))
    b.mark(ellipse(b.x, b.y - 0.60, 0.24, 0.28), _CREAM, 0.75)


def _cup(b: Brush, colour: Colour) -> None:
    handle = np.abs(np.hypot(b.x - 0.62, b.y - 0.08) - 0.30) - 0.08
    b.part(handle, colour)
    body = polygon(b.x, b.y, [(-0.66, -0.42), (0.66, -0.42), (0.48, 0.80), (-0.48, 0.80)])
    b.part(body - 0.04, colour)
    b.part(ellipse(b.x, b.y + 0.44, 0.68, 0.16), _CREAM, outline=0.04)
    b.mark(ellipse(b.x, b.y + 0.42, 0.54, 0.10), (0.36, 0.21, 0.12))
    b.mark(circle(b.x + 0.06, b.y - 0.22, 0.17), _CREAM)
    for at in (-0.2, 0.18):
        b.mark(segment(b.x + 0.06 * np.sin(b.y * 9), b.y, (at, -0.95), (at, -0.66), 0.05), (1, 1, 1), 0.6)


_DRAW: dict[str, Callable[[Brush, Colour], None]] = {
    "ball": _ball,
    "star": _star,
    "heart": _heart,
    "house": _house,
    "tree": _tree,
    "mushroom": _mushroom,
    "fish": _fish,
    "boat": _boat,
    "flower": _flower,
    "moon": _moon,
    "cat": _cat,
    "cup": _cup,
}


def draw_subject(layer: Layer, name: str, colour: Colour, x: Field, y: Field, scale: float) -> None:
    """Draw one subject into a layer; x and y are its own coordinates, scale the size of their unit."""
    _DRAW[name](Brush(layer, x, y, scale), colour)
