"""Prompt logs of synthetic users: short prompts with modifiers, chosen well by some and anyhow by most.

Users have experience: they have seen what a modifier does to real pictures of a scene (the raters' formula on
renders, nothing falsified). How much they listen to it is their skill. Words that do nothing are popular.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from dfprompt.mini.captions import describe
from dfprompt.mini.controls import PAIRS, RANGES
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.raters import taste
from dfprompt.mini.renderer import make_scene, render
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS
from dfprompt.prompt import DFPrompt, Span

_SKILLS = (0.0, 1.5, 4.0)
_SKILL_SHARES = (0.40, 0.35, 0.25)
_POPULAR = {"masterpiece": 1.2, "8k": 1.0, "trending": 0.8, "award winning": 0.8}  # log-odds of mere habit


@dataclass(frozen=True)
class LoggedPrompt:
    """One line of the logs: what was typed, and its parts."""

    prompt: str
    short: str
    modifiers: tuple[str, ...]
    subject: str
    colour: str
    scene: str


def experience(renders: int = 16) -> dict[str, npt.NDArray[np.float64]]:
    """What users have learnt: mean change of taste by modifier (M,), for each scene, on real renders."""
    out = {}
    for scene in SCENES:
        change = np.zeros(len(MODIFIERS))
        asked = [
            make_scene(
                SUBJECTS[i % len(SUBJECTS)], list(COLOURS)[(3 * i) % len(COLOURS)], scene, seed=10_000 + i
            )
            for i in range(renders)
        ]
        plain = _taste([render(s) for s in asked], scene)
        for column, name in enumerate(MODIFIERS):
            drawn = [
                render(make_scene(s.subject, s.colour, scene, seed=s.seed, modifiers=(name,))) for s in asked
            ]
            change[column] = _taste(drawn, scene) - plain
        out[scene] = change
    return out


def _taste(pictures: list[npt.NDArray[np.float32]], scene: str) -> float:
    images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)
    return float(taste(images, [scene] * len(pictures)).mean())


def iter_logs(count: int, *, seed: int, learnt: dict[str, npt.NDArray[np.float64]]) -> Iterator[LoggedPrompt]:
    """`count` prompts; never one about a held-out pair of subject and scene."""
    names = list(MODIFIERS)
    habit = np.array([_POPULAR.get(name, 0.0) for name in names])
    rng = np.random.default_rng([seed, 77])
    made = 0
    while made < count:
        subject = SUBJECTS[rng.integers(len(SUBJECTS))]
        scene = list(SCENES)[rng.integers(len(SCENES))]
        if (subject, scene) in HELD_OUT_PAIRS:
            continue
        colour = list(COLOURS)[rng.integers(len(COLOURS))]
        short = describe(subject, colour, scene, rng)
        skill = rng.choice(_SKILLS, p=_SKILL_SHARES)
        odds = np.exp(habit + skill * learnt[scene])
        wanted = rng.choice(5, p=(0.10, 0.22, 0.30, 0.24, 0.14))
        chosen = rng.choice(len(names), size=wanted, replace=False, p=odds / odds.sum())
        modifiers = tuple(names[i] for i in chosen)
        yield LoggedPrompt(", ".join([short, *modifiers]), short, modifiers, subject, colour, scene)
        made += 1


def with_controls(prompts: Sequence[LoggedPrompt], *, seed: int) -> list[DFPrompt]:
    """Every other prompt with a range and a weight drawn for each modifier, as people with such a tool try.

    These are the pictures raters are shown: without them, the learnt tastes would have to guess about the
    pictures that ranges and weights make.

    >>> row = LoggedPrompt("a red cat, mist", "a red cat", ("mist",), "cat", "red", "hill")
    >>> [len(prompt.spans) for prompt in with_controls([row, row], seed=1)]
    [1, 2]
    """
    rng = np.random.default_rng([seed, 78])
    out = []
    for number, row in enumerate(prompts):
        if number % 2 == 0 or not row.modifiers:
            out.append(DFPrompt.from_plain(row.prompt))
            continue
        spans: list[str | Span] = [row.short]
        for modifier in row.modifiers:
            name, weight = PAIRS[rng.integers(len(PAIRS))]
            spans += [", ", Span(modifier, RANGES[name], weight)]
        out.append(DFPrompt(spans))
    return out
