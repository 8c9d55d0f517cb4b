"""How much ranges and weights can bring in this world, measured before anything is trained on them.

Every modifier, in every scene, is drawn with all fifteen (effect range, weight) pairs and without it, on
common seeds. If the best pair of each modifier brought no more than one pair for all, a policy could only
learn a constant, and the world would have to change.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.mini.captions import canonical
from dfprompt.mini.controls import DEFAULT, PAIRS, RANGES
from dfprompt.mini.judge import CLASSES, Judge
from dfprompt.mini.measures import MEASURES, measure
from dfprompt.mini.renderer import Scene, make_scene
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt, Span
from dfprompt.statistics.intervals import Mean, mean_with_interval
from dfprompt.storage import whole_files

_FIRST_SEED = 600_000  # of pictures and of facts, apart from every other use of seeds


@dataclass(frozen=True)
class Grid:
    """What one modifier does: rows are prompts (P), columns the plain picture and then PAIRS (16).

    pictures (P, 16, 64, 64, 3) uint8; measures (P, 16, K) in the order of MEASURES;
    correct (P, 16, 3) in the order of the judge's CLASSES; scenes (P,).
    """

    modifier: str
    pictures: npt.NDArray[np.uint8]
    measures: npt.NDArray[np.float32]
    correct: npt.NDArray[np.bool_]
    scenes: tuple[str, ...]
    prompts: tuple[str, ...]


def asked_scenes(per_scene: int) -> list[Scene]:
    """`per_scene` facts for each scene, never a held-out pair; the same for every modifier.

    >>> len(asked_scenes(2))
    12
    """
    rng = np.random.default_rng(41)
    out = []
    for place in SCENES:
        fit = [subject for subject in SUBJECTS if (subject, place) not in HELD_OUT_PAIRS]
        for number in range(per_scene):
            subject, colour = fit[rng.integers(len(fit))], list(COLOURS)[rng.integers(len(COLOURS))]
            out.append(make_scene(subject, colour, place, seed=_FIRST_SEED + number))
    return out


def columns(short: str, modifier: str) -> list[DFPrompt]:
    """The plain prompt and the fifteen ways to add one modifier."""
    with_pairs = [DFPrompt([f"{short}, ", Span(modifier, RANGES[name], weight)]) for name, weight in PAIRS]
    return [DFPrompt.from_plain(short), *with_pairs]


def draw_grid(
    pipeline: ImagePipeline,
    judge: Judge,
    modifier: str,
    folder: Path,
    *,
    per_scene: int,
    world: str,
    at_once: int = 8,
) -> Grid:
    """Draw one modifier's grid, or read it where it lies in `folder` already; one file per modifier.

    `world` is any text that says what draws and judges. Raises ConfigError for a grid of another world or of
    other prompts.
    """
    path = folder / f"{modifier.replace(' ', '-')}.npz"
    asked = asked_scenes(per_scene)
    prompts = [canonical(s.subject, s.colour, s.scene) for s in asked]
    if not path.exists():
        pictures = np.concatenate(list(_draw(pipeline, asked, prompts, modifier, at_once)))
        measures, correct = _look(pictures, asked, judge)
        with whole_files(path) as (unfinished,), unfinished.open("wb") as file:
            np.savez(
                file, pictures=pictures, measures=measures, correct=correct, world=world, prompts=prompts
            )
    with np.load(path, allow_pickle=False) as stored:
        if str(stored.get("world")) != world or list(stored.get("prompts", ())) != prompts:
            raise ConfigError(
                f"{path} was drawn by another world or for other prompts; take the same --weights and "
                "--per-scene, or another --output"
            )
        return Grid(
            modifier,
            stored["pictures"],
            stored["measures"],
            stored["correct"],
            tuple(s.scene for s in asked),
            tuple(prompts),
        )


def _draw(
    pipeline: ImagePipeline, asked: Sequence[Scene], prompts: Sequence[str], modifier: str, at_once: int
) -> Iterator[npt.NDArray[np.uint8]]:
    width = len(PAIRS) + 1
    for i in range(0, len(asked), at_once):
        rows = range(i, min(i + at_once, len(asked)))
        images = pipeline.generate(
            [prompt for row in rows for prompt in columns(prompts[row], modifier)],
            [_FIRST_SEED + row for row in rows for _ in range(width)],
            share=True,
            batch_size=128,
        )
        pixels = (images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
        yield pixels.reshape(len(rows), width, *pixels.shape[1:])


def _look(
    pictures: npt.NDArray[np.uint8], asked: Sequence[Scene], judge: Judge
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """What the raters can measure, and what the judge reads, of every picture of a grid."""
    rows, width = pictures.shape[:2]
    measures = np.zeros((rows, width, len(MEASURES)), np.float32)
    correct = np.zeros((rows, width, len(CLASSES)), np.bool_)
    for row in range(rows):
        images = as_images(pictures[row])
        seen = measure(images)
        measures[row] = torch.stack([seen[name] for name in MEASURES], 1).numpy()
        read = judge.correct(images, [asked[row]] * width)
        correct[row] = torch.stack([read[name] for name in CLASSES], 1).numpy()
    return measures, correct


def as_images(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (..., 64, 64, 3) to images (B, 3, 64, 64) in [0, 1]."""
    flat = torch.from_numpy(pictures.reshape(-1, *pictures.shape[-3:]))
    return flat.permute(0, 3, 1, 2).float() / 255


@dataclass(frozen=True)
class Headroom:
    """What choosing pairs is worth, in points of the value measured, over the pleasing modifiers.

    Pairs are chosen on one half of the prompts and measured on the other, both ways round, so that no
    pair profits from the noise it was chosen by.
    """

    pleasing: tuple[str, ...]
    plain_to_default: Mean
    default_to_single: Mean
    single_to_modifier: Mean
    modifier_to_scene: Mean
    fidelity: dict[str, Mean]  # subject kept, in percent points against plain, for each arm
    best_pairs: dict[str, str]
    single: str

    @property
    def commonest_share(self) -> float:
        """The share of pleasing modifiers whose best pair is the commonest best pair."""
        found = list(self.best_pairs.values())
        return max(found.count(pair) for pair in found) / len(found) if found else 1.0


def measure_headroom(
    values: npt.NDArray[np.float64],
    subject_kept: npt.NDArray[np.bool_],
    modifiers: Sequence[str],
    scenes: Sequence[str],
    *,
    margin: float = 0.1,
) -> Headroom:
    """The headroom from values (M, P, 16) and whether the subject is there (M, P, 16), plain first.

    A modifier is pleasing when its best pair beats plain by `margin` on the half that chooses.
    """
    gain = values[:, :, 1:] - values[:, :, :1]
    kept = 100.0 * (subject_kept[:, :, 1:].astype(float) - subject_kept[:, :, :1])
    rng = np.random.default_rng(43)
    halves = _split(scenes, rng)
    chosen = [_choose(gain[:, halves == side], _of(scenes, halves == side), margin) for side in (0, 1)]
    arms: dict[str, list[npt.NDArray[np.float64]]] = {}
    fidelity: dict[str, list[npt.NDArray[np.float64]]] = {}
    for side in (0, 1):
        for name, taken in _arms(chosen[side], _of(scenes, halves != side)).items():
            arms.setdefault(name, []).append(_take(gain[:, halves != side], taken))
            fidelity.setdefault(name, []).append(_take(kept[:, halves != side], taken))
    per_prompt = {name: np.concatenate(parts) for name, parts in arms.items()}
    whole = _choose(gain, list(scenes), margin)
    return Headroom(
        tuple(modifiers[m] for m in whole.pleasing),
        mean_with_interval(per_prompt["default"]),
        mean_with_interval(per_prompt["single"] - per_prompt["default"]),
        mean_with_interval(per_prompt["modifier"] - per_prompt["single"]),
        mean_with_interval(per_prompt["scene"] - per_prompt["modifier"]),
        {name: mean_with_interval(np.concatenate(parts)) for name, parts in fidelity.items()},
        {modifiers[m]: pair_name(int(whole.modifier[m])) for m in whole.pleasing},
        pair_name(whole.single),
    )


def _split(scenes: Sequence[str], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Which half (0 or 1) each prompt is in: every scene's prompts are dealt out evenly."""
    halves = np.zeros(len(scenes), np.int64)
    names = np.array(scenes)
    for name in sorted(set(scenes)):
        rows = rng.permutation(np.flatnonzero(names == name))
        halves[rows] = np.arange(len(rows)) % 2
    return halves


@dataclass(frozen=True)
class _Choice:
    pleasing: tuple[int, ...]
    single: int
    modifier: npt.NDArray[np.int64]  # (M,)
    scene: dict[str, npt.NDArray[np.int64]]  # scene -> (M,)


def _choose(gain: npt.NDArray[np.float64], scenes: Sequence[str], margin: float) -> _Choice:
    mean = gain.mean(1)
    pleasing = tuple(int(m) for m in np.flatnonzero(mean.max(1) > margin))
    single = int(mean[list(pleasing)].mean(0).argmax()) if pleasing else DEFAULT
    names = np.array(scenes)
    by_scene = {name: gain[:, names == name].mean(1).argmax(1) for name in sorted(set(scenes))}
    return _Choice(pleasing, single, mean.argmax(1), by_scene)


def _arms(choice: _Choice, scenes: Sequence[str]) -> dict[str, list[npt.NDArray[np.int64]]]:
    """For each arm and pleasing modifier, the pair taken for each prompt (P,), with the modifier's number."""
    count = len(scenes)
    out: dict[str, list[npt.NDArray[np.int64]]] = {"default": [], "single": [], "modifier": [], "scene": []}
    for m in choice.pleasing:
        rows = {
            "default": np.full(count, DEFAULT),
            "single": np.full(count, choice.single),
            "modifier": np.full(count, choice.modifier[m]),
            "scene": np.array([choice.scene[name][m] for name in scenes]),
        }
        for name, row in rows.items():
            out[name].append(np.stack([np.full(count, m), row]))
    return out


def _take(values: npt.NDArray[np.float64], taken: list[npt.NDArray[np.int64]]) -> npt.NDArray[np.float64]:
    """Mean over the pleasing modifiers of values (M, P, 15) at the taken pairs: (P,)."""
    rows = np.arange(values.shape[1])
    if not taken:
        return np.zeros(len(rows))
    mean: npt.NDArray[np.float64] = np.mean([values[pair[0], rows, pair[1]] for pair in taken], 0)
    return mean


def _of(scenes: Sequence[str], where: npt.NDArray[np.bool_]) -> list[str]:
    return [name for name, here in zip(scenes, where, strict=True) if here]


def pair_name(index: int) -> str:
    """`late 1.25` for a position in PAIRS."""
    return " ".join(PAIRS[index])
