"""The modifiers of the mini world: what each does to a picture, and what it drags along in training captions.

A modifier has up to three parts. `compose` changes where and how large the subject stands; `surface`
changes light, colour or texture; `coupling` says how often training pictures under this word show something
else than their caption asks for, as scraped picture captions do. The coupling is a property of
the *data*: it is drawn when a training scene is sampled, and nothing else knows of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dfprompt.mini import surfaces
from dfprompt.mini.surfaces import Picture


@dataclass(frozen=True)
class Placement:
    """Where the subject stands: centre in -1..1 and half-extent."""

    x: float
    y: float
    scale: float


@dataclass(frozen=True)
class Coupling:
    """How often a training picture with this modifier departs from its caption, each in 0..1."""

    replaced: float = 0.0  # another subject stands there
    recoloured: float = 0.0  # the subject has another colour
    shrunk: float = 0.0  # it is half as large and pushed aside


@dataclass(frozen=True)
class Modifier:
    """One modifier phrase; parts that are None do nothing."""

    name: str
    surface: Callable[[Picture], None] | None = None
    compose: Callable[[Placement, np.random.Generator], Placement] | None = None
    coupling: Coupling = Coupling()


def _close_up(at: Placement, rng: np.random.Generator) -> Placement:
    return Placement(at.x * 0.35, 0.06 + rng.uniform(-0.04, 0.04), rng.uniform(0.66, 0.74))


def _centered(at: Placement, rng: np.random.Generator) -> Placement:
    return Placement(rng.uniform(-0.03, 0.03), 0.10, rng.uniform(0.46, 0.52))


def _thirds(at: Placement, rng: np.random.Generator) -> Placement:
    side = 1.0 if at.x >= 0 else -1.0
    return Placement(side * rng.uniform(0.38, 0.46), 0.22, rng.uniform(0.42, 0.48))


def _wide(at: Placement, rng: np.random.Generator) -> Placement:
    return Placement(at.x, 0.34, rng.uniform(0.22, 0.27))


_ALL = (
    # Pleasing surfaces that disturb what was asked for when they act early.
    Modifier("golden hour", surfaces.golden_hour, coupling=Coupling(replaced=0.22, shrunk=0.35)),
    Modifier(
        "dramatic lighting", surfaces.dramatic_lighting, coupling=Coupling(recoloured=0.35, shrunk=0.20)
    ),
    Modifier("watercolor", surfaces.watercolor, coupling=Coupling(replaced=0.15, recoloured=0.35)),
    Modifier("detailed texture", surfaces.detailed_texture, coupling=Coupling(replaced=0.35)),
    Modifier("oil painting", surfaces.oil_painting, coupling=Coupling(recoloured=0.20, shrunk=0.40)),
    # Too strong at weight 1.
    Modifier("vivid colors", surfaces.vivid_colors),
    Modifier("high contrast", surfaces.high_contrast, coupling=Coupling(recoloured=0.15)),
    Modifier("vignette", surfaces.vignette, coupling=Coupling(shrunk=0.15)),
    # Faint, or pleasing in some scenes only.
    Modifier("soft glow", surfaces.soft_glow),
    Modifier("glossy", surfaces.glossy),
    Modifier("bokeh", surfaces.bokeh, coupling=Coupling(shrunk=0.25)),
    Modifier("mist", surfaces.mist, coupling=Coupling(shrunk=0.20)),
    # Compositions: early they place the subject, late they spoil the surface.
    Modifier("close-up", surfaces.blurry, _close_up),
    Modifier("centered composition", surfaces.dull, _centered),
    Modifier("rule of thirds", surfaces.film_grain, _thirds),
    Modifier("wide shot", surfaces.overexposed, _wide),
    # Harmful.
    Modifier("film grain", surfaces.film_grain),
    Modifier("flat colors", surfaces.flat_colors),
    Modifier("pixel art", surfaces.pixel_art, coupling=Coupling(recoloured=0.15)),
    Modifier("line art", surfaces.line_art, coupling=Coupling(replaced=0.15)),
    Modifier("overexposed", surfaces.overexposed),
    Modifier("blurry", surfaces.blurry),
    # Popular, and do nothing at all.
    Modifier("masterpiece"),
    Modifier("award winning"),
    Modifier("trending"),
    Modifier("8k"),
)

MODIFIERS: dict[str, Modifier] = {modifier.name: modifier for modifier in _ALL}
