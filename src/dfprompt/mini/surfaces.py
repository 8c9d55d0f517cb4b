"""What modifiers do to the surface of a picture: light, colour, texture, focus.

Each effect takes a Picture (size x size, values 0..1) and changes it in place. Effects know nothing
of captions, prompts, ranges or weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dfprompt.mini.canvas import Field, grid, mix, smoothstep

# Fine textures repeat every eight pixels, the autoencoder's patch: a texture that drifts against the patches
# would have to be coded anew in each of them, and small autoencoders drop it.
_TILE = 8
_GRAIN = np.random.default_rng(5).standard_normal((_TILE, _TILE)).astype(np.float32)


@dataclass
class Picture:
    """A picture still in two parts, with what effects may know about it."""

    background: Field  # size x size x 3
    subject: Field  # size x size x 3, meaningless where mask is 0
    mask: Field  # size x size, the subject's coverage
    centre: tuple[float, float]
    scale: float
    rng: np.random.Generator
    flat: Field | None = None  # the composed picture, once a whole-picture effect has run

    @property
    def rgb(self) -> Field:
        """The composed picture; background and subject can no longer be changed apart after this."""
        if self.flat is None:
            self.flat = mix(self.background, self.subject, self.mask)
        return self.flat

    @rgb.setter
    def rgb(self, value: Field) -> None:
        self.flat = value

    @property
    def size(self) -> int:
        return int(self.mask.shape[0])


def luminance(rgb: Field) -> Field:
    """Rec. 709 luma of an H x W x 3 picture."""
    return rgb @ np.array([0.2126, 0.7152, 0.0722], np.float32)


def blur(rgb: Field, sigma: float) -> Field:
    """Gaussian blur, edges repeated; sigma in pixels."""
    radius = max(1, math.ceil(2.5 * sigma))
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    out = rgb
    for axis in (0, 1):
        pad = [(0, 0)] * out.ndim
        pad[axis] = (radius, radius)
        wide = np.pad(out, pad, mode="edge")
        length = out.shape[axis]
        out = sum(t * np.take(wide, range(i, i + length), axis=axis) for i, t in enumerate(taps))
    return out


def _saturate(rgb: Field, amount: float) -> Field:
    grey = luminance(rgb)[..., None]
    return grey + (rgb - grey) * amount


def _contrast(rgb: Field, amount: float) -> Field:
    """An S-curve around middle grey that keeps black and white."""
    centred = np.clip(rgb, 0, 1) - 0.5
    return 0.5 + np.tanh(centred * 2 * amount) / (2 * math.tanh(amount))


# Light and colour


def golden_hour(p: Picture) -> None:
    x, y = grid(p.size)
    side = 1.0 if p.rng.random() < 0.5 else -1.0
    glow = np.exp(-((x - 1.0 * side) ** 2 + (y + 0.35) ** 2) / 0.9)
    warm = p.rgb * np.array([1.10, 0.95, 0.70], np.float32)
    p.rgb = warm + glow[..., None] * np.array([0.34, 0.20, 0.02], np.float32)


def dramatic_lighting(p: Picture) -> None:
    x, y = grid(p.size)
    light = 0.42 + 0.78 * np.exp(-((x + 0.35) ** 2 + (y + 0.30) ** 2) / 0.75)
    p.rgb = _contrast(p.rgb * light[..., None], 1.15)


def soft_glow(p: Picture) -> None:
    bloom = blur(np.clip(p.rgb - 0.30, 0, 1), 3.0) * 0.75
    p.rgb = 1 - (1 - np.clip(p.rgb, 0, 1)) * (1 - bloom)


def vivid_colors(p: Picture) -> None:
    p.rgb = _saturate(p.rgb, 1.75)


def high_contrast(p: Picture) -> None:
    local = p.rgb + 0.45 * (p.rgb - blur(p.rgb, 4.0))
    p.rgb = _contrast(local, 1.75)


def vignette(p: Picture) -> None:
    x, y = grid(p.size)
    p.rgb = p.rgb * (1 - 0.80 * smoothstep(0.55, 1.35, np.hypot(x, y)))[..., None]


def mist(p: Picture) -> None:
    _, y = grid(p.size)
    fog = 0.62 * smoothstep(-0.55, 0.75, y)
    p.background = mix(p.background, (0.90, 0.93, 0.96), fog)
    p.subject = mix(p.subject, (0.90, 0.93, 0.96), fog * 0.35)


def overexposed(p: Picture) -> None:
    p.rgb = np.clip(p.rgb * 1.28 + 0.12, 0, 1)


# Focus and texture


def bokeh(p: Picture) -> None:
    x, y = grid(p.size)
    soft = blur(p.background, 2.6)
    for _ in range(7):
        cx, cy, r = p.rng.uniform(-1, 1), p.rng.uniform(-1, 0.6), p.rng.uniform(0.09, 0.17)
        disc = np.clip(0.5 - (np.hypot(x - cx, y - cy) - r) * p.size / 2, 0, 1)
        tone = mix(
            soft[int((cy + 1) / 2 * (p.size - 1)), int((cx + 1) / 2 * (p.size - 1))], (1.0, 0.95, 0.75), 0.75
        )
        soft = mix(soft, tone, disc * 0.55)
    p.background = soft


def glossy(p: Picture) -> None:
    x, y = grid(p.size)
    u, v = (x - p.centre[0]) / p.scale, (y - p.centre[1]) / p.scale
    shine = np.exp(-(((u + 0.32) / 0.30) ** 2 + ((v + 0.38) / 0.22) ** 2))
    rim = np.clip(p.mask - blur(p.mask, 1.6), 0, 1) * (u - v > 0)
    p.subject = mix(_saturate(p.subject, 1.15), (1, 1, 1), np.clip(0.70 * shine + 0.9 * rim, 0, 1))


def detailed_texture(p: Picture) -> None:
    i = np.arange(p.size, dtype=np.float32) + 0.5
    wave = np.cos(math.tau * i / _TILE * 2)  # a weave with a period of four pixels
    p.rgb = p.rgb * (1 + 0.26 * (wave[None, :] - wave[:, None]) / math.sqrt(2))[..., None]


def oil_painting(p: Picture) -> None:
    i = np.arange(p.size, dtype=np.float32) + 0.5
    soft = _saturate(blur(p.rgb, 0.9), 1.35)
    strokes = np.sin(math.tau * (i[None, :] + 0.5 * i[:, None]) / _TILE)  # slanted, a stroke a tile
    p.rgb = soft * (1 + 0.16 * strokes)[..., None]


def watercolor(p: Picture) -> None:
    x, y = grid(p.size)
    soft = blur(p.rgb, 1.0)
    a, b, c = p.rng.uniform(0, 6.28, 3)
    pools = np.sin(4.1 * x + 2.0 * y + a) + np.sin(3.0 * y - 4.4 * x + b) + np.sin(6.5 * x * y + c)
    edge = np.clip(np.abs(soft - blur(soft, 1.6)).sum(-1) * 1.6, 0, 0.5)
    wash = mix(soft, (0.99, 0.97, 0.92), np.clip(0.32 + 0.09 * pools, 0, 1))
    frame = smoothstep(0.78, 0.97, np.maximum(np.abs(x), np.abs(y)) + 0.05 * np.sin(9 * (x + y) + a))
    p.rgb = mix(wash * (1 - edge * 0.8)[..., None], (0.99, 0.97, 0.92), frame)


def film_grain(p: Picture) -> None:
    tiles = np.tile(_GRAIN, (p.size // _TILE, p.size // _TILE))
    noise = 0.085 * tiles + p.rng.normal(0, 0.02, p.rgb.shape[:2]).astype(np.float32)
    p.rgb = _saturate(p.rgb, 0.80) + noise[..., None]


def flat_colors(p: Picture) -> None:
    p.rgb = np.round(np.clip(p.rgb, 0, 1) * 3) / 3


def pixel_art(p: Picture) -> None:
    block = 4
    n = p.size // block
    cells = np.clip(p.rgb, 0, 1).reshape(n, block, n, block, 3).mean((1, 3))
    p.rgb = np.repeat(np.repeat(np.round(_saturate(cells, 1.2) * 6) / 6, block, 0), block, 1)


def line_art(p: Picture) -> None:
    rgb = np.clip(p.rgb, 0, 1)
    edges = np.abs(rgb - blur(rgb, 1.2)).sum(-1) * 3.2
    paper = mix((0.98, 0.98, 0.97), np.clip(_saturate(rgb, 1.5), 0, 1), 0.30 + 0.30 * p.mask)
    p.rgb = mix(paper, (0.12, 0.12, 0.18), np.clip(edges, 0, 0.9))


def blurry(p: Picture) -> None:
    p.rgb = blur(p.rgb, 1.9)


def dull(p: Picture) -> None:
    """Greyed and flattened: what deliberate compositions cost when their words act to the end."""
    p.rgb = 0.5 + (_saturate(p.rgb, 0.60) - 0.5) * 0.72
