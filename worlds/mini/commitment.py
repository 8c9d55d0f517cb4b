"""Where in denoising a picture commits: what the early and the late half each decide.

Everything that ranges and weights can do in this world hangs on it: if the late half decided all, a late
modifier would spare nothing; if the early half did, a late modifier would do nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from dfprompt.mini.captions import canonical
from dfprompt.mini.judge import Judge
from dfprompt.mini.measures import MEASURES, measure
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.renderer import Scene, make_scene
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS
from dfprompt.prompt import DFPrompt, Span
from dfprompt.prompt.effect import EARLY, FULL, LATE
from worlds.mini.generation import generate_pictures

_NOTICEABLE = (
    0.5  # of a plain picture's own spread: below it a modifier has no look whose halves could be told apart
)


@dataclass(frozen=True)
class Commitment:
    """In percent: first subjects kept after a swap half-way, and each half's part of modifiers' looks."""

    kept: float
    changed: float
    pictures: int
    early: dict[str, float]
    late: dict[str, float]

    @property
    def shared_looks(self) -> list[str]:
        """Modifiers of which each half carries between a quarter and three quarters."""
        return [name for name in self.early if 25 <= self.early[name] <= 75 and 25 <= self.late[name] <= 75]


def swapped(first: str, second: str, colour: str, scene: str) -> DFPrompt:
    """A prompt whose subject changes half-way: `a red [cat:early][fish:late] on a hill`."""
    before, after = canonical(first, colour, scene).split(first)
    return DFPrompt([before, Span(first, EARLY), Span(second, LATE), after])


def measure_commitment(
    pipe: StableDiffusionPipeline,
    judge: Judge,
    *,
    steps: int,
    guidance_scale: float,
    swaps: int = 96,
    pictures_per_modifier: int = 12,
) -> Commitment:
    """Swap subjects half-way, and compare each modifier's early and late halves with its full range."""
    rng = np.random.default_rng(31)
    asked: list[tuple[Scene, Scene]] = []
    prompts: list[DFPrompt] = []
    while len(asked) < swaps:
        first, second = rng.choice(SUBJECTS, 2, replace=False)
        scene, colour = str(rng.choice(list(SCENES))), str(rng.choice(list(COLOURS)))
        if {(str(first), scene), (str(second), scene)} & HELD_OUT_PAIRS:
            continue
        asked.append(
            (make_scene(str(first), colour, scene, seed=0), make_scene(str(second), colour, scene, seed=0))
        )
        prompts.append(swapped(str(first), str(second), colour, scene))
    images = _images(pipe, prompts, list(range(swaps)), steps, guidance_scale)
    kept = judge.correct(images, [pair[0] for pair in asked])["subject"]
    changed = judge.correct(images, [pair[1] for pair in asked])["subject"]
    early, late = _looks(pipe, steps, guidance_scale, pictures_per_modifier)
    return Commitment(
        100 * float(kept.float().mean()), 100 * float(changed.float().mean()), swaps, early, late
    )


def _looks(
    pipe: StableDiffusionPipeline, steps: int, guidance_scale: float, count: int
) -> tuple[dict[str, float], dict[str, float]]:
    rng = np.random.default_rng(32)
    facts: list[tuple[str, str, str]] = []
    while len(facts) < count:
        fact = (
            str(rng.choice(SUBJECTS)),
            str(rng.choice(list(COLOURS))),
            list(SCENES)[len(facts) % len(SCENES)],
        )
        if (fact[0], fact[2]) not in HELD_OUT_PAIRS:
            facts.append(fact)
    shorts, seeds = [canonical(*fact) for fact in facts], list(range(count))
    plain = _vector(_images(pipe, shorts, seeds, steps, guidance_scale))
    spread = plain.std(0).clamp_min(1e-4)
    early, late = {}, {}
    for name in MODIFIERS:
        change = {}
        for word, reach in (("full", FULL), ("early", EARLY), ("late", LATE)):
            prompts = [DFPrompt([f"{short}, ", Span(name, reach)]) for short in shorts]
            drawn = _vector(_images(pipe, prompts, seeds, steps, guidance_scale))
            change[word] = ((drawn - plain) / spread).mean(0)
        size = change["full"] @ change["full"]
        if size.sqrt() < _NOTICEABLE:
            continue
        early[name] = 100 * float(change["early"] @ change["full"] / size)
        late[name] = 100 * float(change["late"] @ change["full"] / size)
    return early, late


def _images(
    pipe: StableDiffusionPipeline,
    prompts: Sequence[str | DFPrompt],
    seeds: list[int],
    steps: int,
    guidance_scale: float,
) -> Tensor:
    drawn = generate_pictures(pipe, prompts, seeds=seeds, steps=steps, guidance_scale=guidance_scale)
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 255


def _vector(images: Tensor) -> Tensor:
    measured = measure(images)
    return torch.stack([measured[name] for name in MEASURES], 1)
