"""A tiny painter: signed distances in, anti-aliased layers out.

Coordinates run from -1 to 1, x to the right and y down. Distances are in the same units, negative
inside. Arrays are float32, H x W (fields) or H x W x 3 (colours in 0..1).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Field = npt.NDArray[np.floating[Any]]
Colour = tuple[float, float, float] | Field


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Field, Field]:
    """Pixel centres of a size x size canvas: the x field and the y field."""
    line = (np.arange(size, dtype=np.float32) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(line, line)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y


class Layer:
    """A picture with coverage: what has been painted so far, over nothing."""

    def __init__(self, size: int) -> None:
        self.rgb: Field = np.zeros((size, size, 3), np.float32)
        self.alpha: Field = np.zeros((size, size), np.float32)
        self.pixel = 2.0 / size

    def fill(self, distance: Field, colour: Colour, opacity: float | Field = 1.0) -> None:
        """Paint the inside of a shape (distance < 0) with one colour or a field of colours."""
        cover = np.clip(0.5 - distance / self.pixel, 0, 1) * opacity
        self.rgb += (np.asarray(colour, np.float32) - self.rgb) * cover[..., None]
        self.alpha += cover * (1 - self.alpha)


def mix(first: Colour, second: Colour, amount: float | Field) -> Field:
    """Blend two colours; amount 0 gives the first, 1 the second, a field blends per pixel."""
    a, b = np.asarray(first, np.float32), np.asarray(second, np.float32)
    t = np.asarray(amount, np.float32)
    return a + (b - a) * (t[..., None] if t.ndim else t)


def smoothstep(low: float, high: float, value: Field) -> Field:
    """0 below low, 1 above high, smooth between."""
    t = np.clip((value - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


# Signed distances (formulas: Inigo Quilez, "2D distance functions", re-derived here for numpy).


def circle(x: Field, y: Field, radius: float) -> Field:
    return np.hypot(x, y) - radius


def ellipse(x: Field, y: Field, rx: float, ry: float) -> Field:
    """Approximate, first order: exact enough for edges a pixel wide."""
    k = np.hypot(x / rx, y / ry)
    gradient = np.hypot(x / rx**2, y / ry**2)
    return k * (k - 1) / np.maximum(gradient, 1e-4)


def box(x: Field, y: Field, half_width: float, half_height: float, radius: float = 0.0) -> Field:
    qx = np.abs(x) - half_width + radius
    qy = np.abs(y) - half_height + radius
    outside = np.hypot(np.maximum(qx, 0), np.maximum(qy, 0))
    return outside + np.minimum(np.maximum(qx, qy), 0) - radius


def segment(x: Field, y: Field, a: tuple[float, float], b: tuple[float, float], radius: float) -> Field:
    ax, ay = a
    dx, dy = b[0] - ax, b[1] - ay
    t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
    return np.hypot(x - ax - t * dx, y - ay - t * dy) - radius


def polygon(x: Field, y: Field, points: list[tuple[float, float]]) -> Field:
    """Exact distance to a simple polygon, any winding."""
    best = np.full(x.shape, np.inf, np.float32)
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(points, points[1:] + points[:1], strict=True):
        best = np.minimum(best, segment(x, y, (ax, ay), (bx, by), 0.0))
        crosses = (ay > y) != (by > y)
        if ay != by:
            inside ^= crosses & (x < (bx - ax) * (y - ay) / (by - ay) + ax)
    return np.where(inside, -best, best)


def union(*distances: Field) -> Field:
    return np.minimum.reduce(distances)


def intersection(*distances: Field) -> Field:
    return np.maximum.reduce(distances)


def subtract(shape: Field, hole: Field) -> Field:
    return np.maximum(shape, -hole)
