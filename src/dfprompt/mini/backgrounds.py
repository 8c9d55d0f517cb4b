"""The six scenes a subject can stand in; each is a full picture drawn from a random generator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dfprompt.mini.canvas import (
    Colour,
    Field,
    Layer,
    box,
    circle,
    ellipse,
    grid,
    mix,
    polygon,
    segment,
    smoothstep,
    union,
)

Draw = Callable[[Layer, Field, Field, np.random.Generator], None]


def _sky(layer: Layer, y: Field, top: Colour, bottom: Colour, horizon: float = 0.5) -> None:
    layer.rgb[:] = mix(top, bottom, np.clip((y + 1) / (1 + horizon), 0, 1))
    layer.alpha[:] = 1


def _ground(layer: Layer, x: Field, y: Field, rng: np.random.Generator, level: float, wave: float) -> Field:
    """A rolling line: negative below it; wave is its height."""
    phase, pace = rng.uniform(0, 6.28), rng.uniform(1.2, 2.2)
    return level + wave * np.sin(pace * x + phase) - y


def _hill(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.36, 0.66, 0.95), (0.83, 0.94, 1.0))
    sun = rng.uniform(-0.75, 0.75)
    layer.fill(circle(x - sun, y + 0.68, 0.17), (1.0, 0.96, 0.66))
    for _ in range(2):
        cx, cy = rng.uniform(-0.9, 0.9), rng.uniform(-0.75, -0.3)
        cloud = union(ellipse(x - cx, y - cy, 0.26, 0.09), ellipse(x - cx - 0.08, y - cy + 0.07, 0.14, 0.09))
        layer.fill(cloud, (1, 1, 1), 0.85)
    far = _ground(layer, x, y, rng, 0.22, 0.10)
    layer.fill(far, (0.55, 0.78, 0.52))
    near = _ground(layer, x, y, rng, 0.45, 0.08)
    layer.fill(near, mix((0.47, 0.76, 0.33), (0.25, 0.55, 0.22), smoothstep(0.3, 1.0, y)))


def _night(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.04, 0.05, 0.20), (0.22, 0.20, 0.46), 0.8)
    for _ in range(16):
        sx, sy, r = rng.uniform(-1, 1), rng.uniform(-1, 0.35), rng.uniform(0.012, 0.03)
        layer.fill(circle(x - sx, y - sy, r), (1.0, 0.97, 0.82), rng.uniform(0.6, 1.0))
    layer.fill(_ground(layer, x, y, rng, 0.35, 0.14), (0.10, 0.11, 0.28))
    layer.fill(_ground(layer, x, y, rng, 0.60, 0.08), (0.06, 0.07, 0.18))


def _desert(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.95, 0.72, 0.48), (1.0, 0.90, 0.72), 0.2)
    layer.fill(circle(x - rng.uniform(-0.7, 0.7), y + 0.55, 0.20), (1.0, 0.97, 0.86))
    layer.fill(_ground(layer, x, y, rng, 0.12, 0.14), (0.90, 0.68, 0.42))
    at = rng.choice((-0.78, 0.78)) + rng.uniform(-0.1, 0.1)
    cactus = union(
        segment(x, y, (at, 0.0), (at, 0.45), 0.055),
        segment(x, y, (at, 0.25), (at + 0.13, 0.22), 0.04),
        segment(x, y, (at + 0.13, 0.22), (at + 0.13, 0.08), 0.04),
    )
    layer.fill(cactus, (0.33, 0.50, 0.28))
    near = _ground(layer, x, y, rng, 0.42, 0.10)
    layer.fill(near, mix((0.93, 0.74, 0.47), (0.78, 0.54, 0.30), smoothstep(0.3, 1.0, y)))


def _sea(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.35, 0.82, 0.88), (0.04, 0.30, 0.55), 0.9)
    lean = rng.uniform(-0.5, 0.5)
    for _ in range(3):
        at, width = rng.uniform(-1.2, 1.2), rng.uniform(0.08, 0.2)
        ray = np.abs(x - at - lean * (y + 1)) - width * (0.4 + 0.5 * (y + 1))
        layer.fill(ray, (0.85, 1.0, 0.98), 0.22 * np.clip(0.8 - y, 0, 1))
    layer.fill(_ground(layer, x, y, rng, 0.70, 0.05), (0.80, 0.74, 0.52))
    for at in rng.choice((-0.85, -0.65, 0.65, 0.85), 2, replace=False):
        sway = 0.06 * np.sin(7 * y + at * 9)
        layer.fill(segment(x + sway, y, (at, 0.2), (at, 0.9), 0.05), (0.10, 0.48, 0.34))
    for _ in range(5):
        bx, by, r = rng.uniform(-0.9, 0.9), rng.uniform(-0.9, 0.5), rng.uniform(0.03, 0.07)
        layer.fill(np.abs(circle(x - bx, y - by, r)) - 0.014, (0.9, 1.0, 1.0), 0.8)


def _snow(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.62, 0.71, 0.84), (0.87, 0.91, 0.96), 0.3)
    for at in (-0.85, -0.5, 0.5, 0.85):
        px, h = at + rng.uniform(-0.12, 0.12), rng.uniform(0.42, 0.62)
        pine = polygon(x, y, [(px - 0.20, 0.34), (px + 0.20, 0.34), (px, 0.34 - h)])
        layer.fill(pine, (0.36, 0.48, 0.52))
        cap = polygon(x, y, [(px - 0.09, 0.34 - h * 0.58), (px + 0.09, 0.34 - h * 0.58), (px, 0.34 - h)])
        layer.fill(cap, (0.95, 0.97, 1.0))
    near = _ground(layer, x, y, rng, 0.36, 0.07)
    layer.fill(near, mix((0.98, 0.99, 1.0), (0.80, 0.86, 0.95), smoothstep(0.3, 1.0, y)))
    for _ in range(14):
        fx, fy, r = rng.uniform(-1, 1), rng.uniform(-1, 0.9), rng.uniform(0.018, 0.035)
        layer.fill(circle(x - fx, y - fy, r), (1, 1, 1), 0.9)


def _forest(layer: Layer, x: Field, y: Field, rng: np.random.Generator) -> None:
    _sky(layer, y, (0.42, 0.63, 0.36), (0.76, 0.86, 0.55), 0.6)
    for depth, tone in ((0.0, (0.30, 0.46, 0.28)), (1.0, (0.27, 0.22, 0.15))):
        for at in np.linspace(-0.95, 0.95, 5) + rng.uniform(-0.15, 0.15, 5):
            if depth and abs(at) < 0.45:
                continue
            layer.fill(box(x - at - 0.04 * y, y, 0.06 + 0.05 * depth, 1.2), tone)
    for _ in range(7):
        cx, cy = rng.uniform(-1, 1), rng.uniform(-1.05, -0.75)
        layer.fill(ellipse(x - cx, y - cy, rng.uniform(0.2, 0.35), 0.17), (0.17, 0.40, 0.19))
    near = _ground(layer, x, y, rng, 0.50, 0.05)
    layer.fill(near, mix((0.42, 0.50, 0.22), (0.24, 0.30, 0.13), smoothstep(0.4, 1.0, y)))
    for _ in range(4):
        layer.fill(
            ellipse(x - rng.uniform(-1, 1), y - rng.uniform(0.6, 0.95), 0.10, 0.035), (0.62, 0.68, 0.30)
        )


_DRAW: dict[str, Draw] = {
    "hill": _hill,
    "night": _night,
    "desert": _desert,
    "sea": _sea,
    "snow": _snow,
    "forest": _forest,
}


def draw_background(name: str, size: int, rng: np.random.Generator) -> Field:
    """The scene's empty picture, size x size x 3."""
    layer = Layer(size)
    x, y = grid(size)
    _DRAW[name](layer, x, y, rng)
    return layer.rgb
