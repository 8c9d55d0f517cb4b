"""From a scene's facts to its picture: deterministic, 64 x 64, supersampled.

The facts of a Scene are what is *drawn*. What its caption says may differ (see `sample_scene`), as with
pictures found in the wild; judges learn from the facts, generators from the captions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dfprompt.mini.backgrounds import draw_background
from dfprompt.mini.canvas import Field, Layer, ellipse, grid, smoothstep
from dfprompt.mini.modifiers import MODIFIERS, Placement
from dfprompt.mini.subjects import draw_subject
from dfprompt.mini.surfaces import Picture
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, IMAGE_SIZE, SCENES, SUBJECTS

_SUPERSAMPLING = 2
_DAYLIGHT = (1.0, 1.0, 1.0)
# What the scene's air does to the subject's colour: enough to belong, too little to be misnamed.
_AIR = {"night": (0.94, 0.92, 1.00), "sea": (0.86, 0.97, 1.0), "desert": (1.0, 0.97, 0.92)}


@dataclass(frozen=True)
class Scene:
    """The facts of one picture; `asked_*` is what its caption says, the rest what is drawn."""

    subject: str
    colour: str
    scene: str
    placement: Placement
    modifiers: tuple[str, ...]
    seed: int
    asked_subject: str
    asked_colour: str


def make_scene(
    subject: str,
    colour: str,
    scene: str,
    *,
    seed: int,
    modifiers: tuple[str, ...] = (),
) -> Scene:
    """The scene as asked, nothing falsified; place and size are drawn from the seed.

    >>> make_scene("cat", "red", "hill", seed=1).asked_subject
    'cat'
    """
    rng = np.random.default_rng([seed, 1])
    at = Placement(rng.uniform(-0.45, 0.45), rng.uniform(0.0, 0.34), rng.uniform(0.34, 0.56))
    for name in modifiers:
        compose = MODIFIERS[name].compose
        if compose is not None:
            at = compose(at, rng)
    return Scene(subject, colour, scene, at, modifiers, seed, subject, colour)


def falsify(scene: Scene, rng: np.random.Generator) -> Scene:
    """Apply the training data's couplings: what these modifiers drag along, each with its own chance."""
    for name in scene.modifiers:
        coupling = MODIFIERS[name].coupling
        if rng.random() < coupling.replaced:
            others = [
                s for s in SUBJECTS if s != scene.asked_subject and (s, scene.scene) not in HELD_OUT_PAIRS
            ]
            scene = replace(scene, subject=others[rng.integers(len(others))])
        if rng.random() < coupling.recoloured:
            others = [c for c in COLOURS if c != scene.asked_colour]
            scene = replace(scene, colour=others[rng.integers(len(others))])
        if rng.random() < coupling.shrunk:
            side = 1.0 if rng.random() < 0.5 else -1.0
            at = Placement(side * rng.uniform(0.5, 0.65), 0.42, rng.uniform(0.22, 0.27))
            scene = replace(scene, placement=at)
    return scene


def sample_scene(rng: np.random.Generator, *, modifiers: tuple[str, ...] = (), coupled: bool = True) -> Scene:
    """A random training scene: never a held-out pair; with the couplings unless told otherwise."""
    while True:
        subject = SUBJECTS[rng.integers(len(SUBJECTS))]
        place = list(SCENES)[rng.integers(len(SCENES))]
        if (subject, place) not in HELD_OUT_PAIRS:
            break
    colour = list(COLOURS)[rng.integers(len(COLOURS))]
    scene = make_scene(subject, colour, place, seed=int(rng.integers(2**31)), modifiers=modifiers)
    return falsify(scene, rng) if coupled else scene


def render(scene: Scene, *, size: int = IMAGE_SIZE) -> Field:
    """Draw a scene: size x size x 3, float32 in 0..1; the same scene gives the same bits."""
    rng = np.random.default_rng([scene.seed, 2])
    large = size * _SUPERSAMPLING
    background = draw_background(scene.scene, large, rng)
    layer = Layer(large)
    at = scene.placement
    x, y = grid(large)
    u, v = (x - at.x) / at.scale, (y - at.y) / at.scale
    _cast_shadow(background, u, v, scene.scene)
    air = np.array(_AIR.get(scene.scene, _DAYLIGHT), np.float32)
    draw_subject(layer, scene.subject, np.array(COLOURS[scene.colour], np.float32) * air, u, v, at.scale)
    picture = Picture(
        _shrink(background),
        _shrink(layer.rgb * layer.alpha[..., None]),
        _shrink(layer.alpha[..., None])[..., 0],
        (at.x, at.y),
        at.scale,
        rng,
    )
    picture.subject /= np.maximum(picture.mask, 1e-3)[..., None]
    for name in scene.modifiers:
        surface = MODIFIERS[name].surface
        if surface is not None:
            surface(picture)
    return np.clip(picture.rgb, 0, 1).astype(np.float32)


def _cast_shadow(background: Field, u: Field, v: Field, scene: str) -> None:
    strength = 0.0 if scene == "sea" else 0.28
    shade = strength * (1 - smoothstep(-0.25, 0.35, ellipse(u, v - 1.0, 0.85, 0.16)))
    background *= (1 - shade)[..., None]


def _shrink(field: Field) -> Field:
    s = _SUPERSAMPLING
    h, w, c = field.shape
    return field.reshape(h // s, s, w // s, s, c).mean((1, 3))
