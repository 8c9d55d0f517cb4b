"""Search likings for the raters on grids of measured pictures.

search.py GRIDS SEED SECONDS [OUT.npz [START.npz]]

GRIDS holds one file per modifier as `dfprompt mini headroom` writes them (6 prompts per scene). Prints what
the found population is worth on these pictures, and its likings as source text.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from dfprompt.mini.controls import DEFAULT
from dfprompt.mini.measures import MEASURES
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.world import SCENES
from worlds.mini.headroom import asked_scenes, pair_name

PER_SCENE = 6
LIKED = ("brightness", "contrast", "warmth", "saturation", "sharpness", "grain")
LIKED += ("spotlight", "backdrop", "gloss", "subject_size", "subject_x")
COARSE = {"grain": 8.0, "backdrop": 3.0}  # heavy tails: their unit is so many spreads of plain pictures
# Where liked values may lie, in units from the plain pictures' mean. Without the lower bounds of sharpness,
# saturation and contrast a population was found that liked blurred, pale close-ups (README.md).
FIXED = {
    "brightness": (-3.0, 3.0),
    "contrast": (-0.5, 4.0),
    "saturation": (-0.5, 5.0),
    "sharpness": (0.5, 4.0),
    "grain": (0.0, 0.0),
    "spotlight": (0.0, 6.0),
    "subject_size": (0.3, 1.5),
    "subject_x": (0.0, 0.0),
}
# Everyone minds noise, wants to see the subject, and wants it sharp: the fewest points each may have.
NEEDED = {"grain": 0.6, "subject_size": 0.8, "sharpness": 0.9}
SURFACE = ("golden hour", "dramatic lighting", "watercolor", "oil painting", "bokeh", "mist", "vignette")
PLACING = ("close-up", "centered composition", "wide shot", "rule of thirds")
USELESS = ("overexposed", "blurry", "masterpiece", "8k", "award winning", "trending")
PRETTY = ("golden hour", "dramatic lighting", "bokeh", "vivid colors", "soft glow", "vignette", "glossy")
PRETTY += ("detailed texture", "high contrast", "watercolor", "close-up", "mist")
PLAIN_LOOKING = ("film grain", "flat colors", "pixel art", "line art", "overexposed", "blurry")
Population = dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]  # scene -> liked values, widths, points


class Pictures:
    """The measures of all pictures, in spreads of the scene's plain ones around their mean."""

    def __init__(self, folder: Path) -> None:
        self.names = [name for name in MODIFIERS if (folder / f"{name.replace(' ', '-')}.npz").exists()]
        files = [folder / f"{name.replace(' ', '-')}.npz" for name in self.names]
        index = [MEASURES.index(name) for name in LIKED]
        values = np.stack([np.load(path)["measures"] for path in files])[..., index].astype(float)
        of = np.array([scene.scene for scene in asked_scenes(PER_SCENE)])
        self.unit = np.stack([values[0][of == s, 0].std(0) for s in SCENES]).mean(0)
        self.unit *= [COARSE.get(name, 1.0) for name in LIKED]
        self.plain = {s: values[:, of == s, 0].mean((0, 1)) for s in SCENES}
        self.z = {s: np.clip((values[:, of == s] - self.plain[s]) / self.unit, -8, 12) for s in SCENES}

    def gains(self, population: Population) -> list[np.ndarray]:
        """Taste with a modifier minus without, per scene: (modifiers, pairs), means over prompts."""
        out = []
        for scene, (liked, width, points) in population.items():
            taste = (points * np.exp(-(((self.z[scene] - liked) / width) ** 2) / 2)).sum(-1)
            out.append((taste[:, :, 1:] - taste[:, :, :1]).mean(1))
        return out


def describe(pictures: Pictures, population: Population) -> dict[str, object]:
    """What ranges and weights are worth to a population, in points of taste."""
    by_scene = pictures.gains(population)
    gain = np.mean(by_scene, 0)
    best = gain.max(1)
    pleasing = best > 0.25
    if pleasing.sum() < 3:
        return {"goal": -9.0}
    mean = gain[pleasing].mean(0)
    own = gain.argmax(1)
    counts = np.bincount(own[pleasing], minlength=15)
    at = pictures.names.index
    default, single = mean[DEFAULT], mean.max() - mean[DEFAULT]
    per_modifier = best[pleasing].mean() - mean.max()
    per_scene = np.mean([g.max(1) for g in by_scene], 0)[pleasing].mean() - best[pleasing].mean()
    share = counts.max() / pleasing.sum()
    late = sum(own[at(m)] >= 10 and pleasing[at(m)] for m in SURFACE)
    early = sum(5 <= own[at(m)] < 10 and pleasing[at(m)] for m in PLACING)
    # Every scene has something to find: its three dearest modifiers bring a point.
    found = [np.sort(g[[at(m) for m in (*PRETTY, *PLACING)]].max(1))[-3:].mean() for g in by_scene]
    top = len({int(g.max(1).argmax()) for g in by_scene})
    goal = 4 * min(single, 0.3) + 3 * min(per_modifier, 0.5) + min(per_scene, 0.6)
    goal += 0.12 * min(pleasing.sum(), 13) - 3 * max(0, share - 0.3) + 0.08 * (counts > 0).sum()
    goal += 0.15 * (late + early) + 0.1 * top - 2 * max(0, -0.1 - default) - 2 * max(0, default - 0.6)
    goal -= 0.5 * sum(pleasing[at(m)] for m in USELESS)
    goal += 0.15 * sum(pleasing[at(m)] for m in PRETTY)
    dear = np.mean([np.clip(g.max(1), 0, None) for g in by_scene], 0)  # also what one scene alone likes
    goal -= 0.5 * sum(dear[at(m)] for m in PLAIN_LOOKING)
    goal += 0.5 * sum(min(each, 1.0) for each in found) - 1.0 * max(0, 0.7 - min(found))
    pairs = {m: pair_name(int(own[at(m)])) for m in pictures.names if pleasing[at(m)]}
    values = {"default": default, "single": single, "per modifier": per_modifier, "per scene": per_scene}
    return {"goal": goal, **values, "commonest": share, "found": found, "pairs": pairs}


def fresh(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A scene's likings at random."""
    liked = rng.uniform(-5, 8, len(LIKED))
    for name, (low, high) in FIXED.items():
        liked[LIKED.index(name)] = rng.uniform(low, high)
    points = np.where(rng.random(len(LIKED)) < 0.6, rng.uniform(0.4, 1.6, len(LIKED)), 0)
    for name, least in NEEDED.items():
        points[LIKED.index(name)] = max(points[LIKED.index(name)], least)
    return liked, rng.uniform(2.5, 6, len(LIKED)), points


def change(rng: np.random.Generator, liked: np.ndarray, width: np.ndarray, points: np.ndarray) -> None:
    """Move one liked value, width or number of points, in place."""
    k, what = rng.integers(len(LIKED)), rng.random()
    if what < 0.5:
        liked[k] = np.clip(liked[k] + rng.normal(0, 1.5), *FIXED.get(LIKED[k], (-6, 9)))
    elif what < 0.7:
        width[k] = np.clip(width[k] * np.exp(rng.normal(0, 0.3)), 2.5, 7)
    else:
        points[k] = np.clip(points[k] + rng.normal(0, 0.4), 0, 1.8)
        points[k] *= points[k] >= 0.3


def search(pictures: Pictures, seed: int, seconds: float, start: Population | None = None) -> Population:
    """Change one scene at a time, keep what comes nearer to the goal, and a little less in the beginning."""
    rng, began = np.random.default_rng(seed), time.monotonic()
    here: Population = start or {scene: fresh(rng) for scene in SCENES}
    value = float(describe(pictures, here)["goal"])  # type: ignore[arg-type]
    while (spent := time.monotonic() - began) < seconds:
        scene = list(SCENES)[rng.integers(len(SCENES))]
        liked, width, points = (each.copy() for each in here[scene])
        if rng.random() < 0.03:
            liked, width, points = fresh(rng)
        for _ in range(rng.integers(1, 4)):
            change(rng, liked, width, points)
        for name, least in NEEDED.items():
            points[LIKED.index(name)] = max(points[LIKED.index(name)], least)
        points *= min(1, 8 / points.sum())
        there = {**here, scene: (liked, width, points)}
        found = float(describe(pictures, there)["goal"])  # type: ignore[arg-type]
        if found > value - 0.03 * (1 - spent / seconds) * rng.random():
            here, value = there, found
    return here


def print_likings(pictures: Pictures, population: Population) -> None:
    """The likings as source text, in the measures' own units."""
    for scene, (liked, width, points) in population.items():
        print(f'"{scene}": (')
        for k, name in enumerate(LIKED):
            if points[k] > 0:
                value = pictures.plain[scene][k] + liked[k] * pictures.unit[k]
                print(
                    f'    Liking("{name}", {value:.3f}, {width[k] * pictures.unit[k]:.4f}, {points[k]:.1f}),'
                )
        print("),")


if __name__ == "__main__":
    looked_at = Pictures(Path(sys.argv[1]))
    begin = None
    if len(sys.argv) > 5:
        begin = {scene: tuple(rows) for scene, rows in np.load(sys.argv[5]).items()}
    population = search(looked_at, int(sys.argv[2]), float(sys.argv[3]), begin)
    if len(sys.argv) > 4:
        np.savez(sys.argv[4], **{scene: np.stack(likings) for scene, likings in population.items()})  # type: ignore[arg-type]
    print(describe(looked_at, population))
    print_likings(looked_at, population)
