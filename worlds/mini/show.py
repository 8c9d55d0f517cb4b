"""The command `show`: one sheet of renders, reconstructions, generated pictures and control."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from dfprompt.mini.captions import canonical
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.mini.renderer import make_scene, render
from dfprompt.mini.world import COLOURS, HELD_OUT_PAIRS, SCENES, SUBJECTS
from dfprompt.prompt import DFPrompt, parse_prompt
from worlds.mini.autoencoder import reconstruct
from worlds.mini.generation import generate_pictures, open_pipeline

Pictures = npt.NDArray[np.uint8]

_SCALE = 2  # a 64-pixel picture is shown at 128
_CELL = 64 * _SCALE
_GAP, _MARGIN, _TITLE, _CAPTION = 6, 20, 30, 16
_PAPER, _INK, _QUIET = (250, 248, 244), (40, 38, 52), (120, 116, 130)
_COLUMNS = 13
_CONTROLLED = ("golden hour", "dramatic lighting")
_CONTROLS = ["full", "early", "late", "0.3->0", "late:0.5", "late:0.75", "late:1.25", "late:1.5"]
_CONTROLS += ["full:0.5", "full:0.75", "full:1.25", "full:1.5", "full:0.5->1.5"]


@dataclass(frozen=True)
class Row:
    """One row of the sheet: pictures uint8 (M, 64, 64, 3) and what stands under each."""

    pictures: Pictures
    captions: list[str]


@dataclass(frozen=True)
class Section:
    title: str
    rows: list[Row]


def make_sheet(weights: Path, *, seed: int = 1, steps: int = 10, guidance_scale: float = 3.0) -> Image.Image:
    """Draw the contact sheet of a built world: the same captions three ways, every modifier, control."""
    pipe = open_pipeline(weights / "pipeline")
    scenes = _assortment(seed)
    real = np.stack([np.round(render(scene) * 255).astype(np.uint8) for scene in scenes])
    prompts = [canonical(s.subject, s.colour, s.scene) for s in scenes]
    short = [f"{s.colour} {s.subject}" for s in scenes]

    def generate(texts: list[str | DFPrompt], seeds: list[int]) -> Pictures:
        return generate_pictures(pipe, texts, seeds=seeds, steps=steps, guidance_scale=guidance_scale)

    subject = canonical("house", "red", "snow")
    names = list(MODIFIERS)
    looks = generate([f"{subject}, {name}" for name in names], [seed] * len(names))
    sections = [
        Section(
            "the same captions: rendered, after the autoencoder, generated",
            [
                Row(real, short),
                Row(reconstruct(pipe.vae, real), ["autoencoder"] * len(real)),
                Row(
                    generate(list(prompts), [seed + i for i in range(len(prompts))]),
                    ["generated"] * len(real),
                ),
            ],
        ),
        Section(
            f"one by one: {subject}, ...",
            [Row(looks[i : i + _COLUMNS], names[i : i + _COLUMNS]) for i in range(0, len(names), _COLUMNS)],
        ),
    ]
    for name in _CONTROLLED:
        texts = [parse_prompt(f"{subject}, [{name}:{control}]") for control in _CONTROLS]
        row = Row(generate(list(texts), [seed] * len(texts)), _CONTROLS)
        sections.append(Section(f"when and how strongly: {subject}, [{name}:RANGE:WEIGHT], one seed", [row]))
    return _compose(sections)


def _assortment(seed: int) -> list:  # type: ignore[type-arg]
    rng = np.random.default_rng([seed, 8])
    colours = rng.permutation(list(COLOURS))
    scenes = []
    for i, subject in enumerate(SUBJECTS):
        place = next(
            name
            for name in np.roll(list(SCENES), -i - int(rng.integers(6)))
            if (subject, str(name)) not in HELD_OUT_PAIRS
        )
        scenes.append(make_scene(subject, str(colours[i % len(colours)]), str(place), seed=seed * 100 + i))
    return scenes


def _compose(sections: list[Section]) -> Image.Image:
    width = 2 * _MARGIN + _COLUMNS * (_CELL + _GAP) - _GAP
    height = 2 * _MARGIN + sum(_TITLE + len(s.rows) * (_CELL + _CAPTION + _GAP) for s in sections)
    sheet = Image.new("RGB", (width, height), _PAPER)
    pen = ImageDraw.Draw(sheet)
    title, small = ImageFont.load_default(16), ImageFont.load_default(11)
    y = _MARGIN
    for section in sections:
        pen.text((_MARGIN, y), section.title, fill=_INK, font=title)
        y += _TITLE
        for row in section.rows:
            for column, picture in enumerate(row.pictures):
                x = _MARGIN + column * (_CELL + _GAP)
                large = Image.fromarray(picture).resize((_CELL, _CELL), Image.Resampling.NEAREST)
                sheet.paste(large, (x, y))
                pen.text((x, y + _CELL + 1), row.captions[column], fill=_QUIET, font=small)
            y += _CELL + _CAPTION + _GAP
    return sheet
