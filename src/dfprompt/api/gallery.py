"""Drawn pictures in a folder: names that say what they are, recipes inside, a grid of all of them."""

from __future__ import annotations

import datetime
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from dfprompt.api.checks import check
from dfprompt.api.pipelines import open_pipeline
from dfprompt.conditioning.prompts import Dialect
from dfprompt.images.grid import make_grid
from dfprompt.images.metadata import GenerationMetadata
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.progress import Report
from dfprompt.pipeline.request import Request
from dfprompt.requests.doors import front_door
from dfprompt.requests.render import GenerateRequest
from dfprompt.storage import check_free, lock_folder

OUTPUT = Path("dfprompt-out")
_SLUG = 40  # characters
_GRID_PICTURES = 100


@dataclass(frozen=True)
class Gallery:
    """What was written: the folder, a file and a recipe per picture, the grid if there is one."""

    folder: Path
    files: tuple[Path, ...]
    recipes: tuple[GenerationMetadata, ...]
    grid: Path | None

    def to_json(self) -> dict[str, Any]:
        """Return output (folder), images (file, prompt, df_prompt, seed), grid, model and settings."""
        images = [
            {"file": str(path), "prompt": recipe.prompt, "df_prompt": recipe.df_prompt, "seed": recipe.seed}
            for path, recipe in zip(self.files, self.recipes, strict=True)
        ]
        first = json.loads(self.recipes[0].to_json_text())
        return {
            "output": str(self.folder),
            "images": images,
            "grid": str(self.grid) if self.grid is not None else None,
            "model": first["model"],
            "settings": first["settings"],
        }


@front_door(GenerateRequest, "texts", "output")
def draw_texts(
    request: GenerateRequest, *, number: int | None = None, progress: bool | Report = False
) -> Gallery:
    """Draw DF-Prompts with a pipeline into a folder, one picture per prompt and seed.

    `number` starts the count in file names, for several galleries in one folder. Raises InputError before
    anything is drawn if a file exists and `force` is false, and what loading and drawing raise.

    >>> # draw_texts(["a red cat, [watercolor:late]"], "out", seeds=4, num_inference_steps=10).files
    """
    check(request)
    pipeline = open_pipeline(request)
    seeds = request.numbers
    asked = pipeline.read(
        [text for text in request.texts for _ in seeds],
        [seed for _ in request.texts for seed in seeds],
        request.settings,
        negative_prompt=request.negative_prompt,
        dialect=Dialect(request.dialect, request.plain, request.strict),
    )
    return draw_gallery(
        pipeline,
        asked,
        choose_folder(request.output, request.texts[0]),
        share=request.share,
        metadata=request.metadata,
        number=number,
        force=request.force,
        progress=progress,
    )


def draw_gallery(
    pipeline: ImagePipeline,
    request: Request,
    folder: Path,
    *,
    share: bool = False,
    metadata: bool = True,
    number: int | None = None,
    force: bool = False,
    progress: bool | Report = False,
) -> Gallery:
    """Draw a request into a folder: one PNG per picture, all or none, and a grid when there are several.

    Files are named after the words and the seed, and numbered when the prompts are several; `number`
    starts the count. `metadata=False` leaves the recipes out of the files. Raises InputError before
    anything is drawn if a file exists and `force` is false.
    """
    files = [folder / f"{name}.png" for name in _names(request, number)]
    grid = folder / ("grid.png" if number is None else f"{number:03d}-grid.png")
    several = 1 < len(files) <= _GRID_PICTURES
    check_free([*files, *([grid] if several else [])], force=force)
    with lock_folder(folder):
        pictures = pipeline.draw_request(request, share=share, progress=progress)
        recipes, images = pictures.recipes(), to_pil(pictures.images)
        entries = [
            Entry(path, image, recipe if metadata else None)
            for path, image, recipe in zip(files, images, recipes, strict=True)
        ]
        if several:
            entries.append(Entry(grid, _draw_grid(images, request), is_grid=True))
        save_pictures(entries, force=force)
    return Gallery(folder, tuple(files), tuple(recipes), grid if several else None)


def choose_folder(output: str | Path | None, words: str, today: datetime.date | None = None) -> Path:
    """Return the folder asked for, or a new one under dfprompt-out, named by date and words.

    >>> choose_folder(Path("mine"), "a cat").name
    'mine'
    """
    if output is not None:
        return Path(output)
    base = OUTPUT / f"{(today or datetime.date.today()).isoformat()}-{slug(words)}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def slug(words: str) -> str:
    """Return words as part of a file name: lower-case ASCII letters, digits and hyphens.

    >>> slug("A café, in the Snow!")
    'a-cafe-in-the-snow'
    """
    plain = unicodedata.normalize("NFKD", words).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG].strip("-") or "prompt"


def _names(request: Request, number: int | None) -> list[str]:
    """Return a name for each picture; a prompt keeps its number, a picture drawn twice gets one more."""
    numbers = {prompt: count for count, prompt in enumerate(dict.fromkeys(request.prompts), number or 1)}
    numbered = len(numbers) > 1 or number is not None
    used: Counter[str] = Counter()
    names = []
    for prompt, seed in zip(request.prompts, request.seeds, strict=True):
        prefix = f"{numbers[prompt]:03d}-" if numbered else ""
        name = f"{prefix}{slug(prompt.plain_text)}-seed{seed}"
        used[name] += 1
        names.append(name if used[name] == 1 else f"{name}-{used[name]}")
    return names


def _draw_grid(images: Sequence[Image.Image], request: Request) -> Image.Image:
    """A row per prompt and a column per seed where that fills the grid, else one after the other."""
    rows = [(str(prompt), seed) for prompt, seed in zip(request.prompts, request.seeds, strict=True)]
    texts, seeds = (list(dict.fromkeys(column)) for column in zip(*rows, strict=True))
    if rows != [(text, seed) for text in texts for seed in seeds]:
        return make_grid(images, [f"{text} · seed {seed}" for text, seed in rows])
    if len(seeds) == 1:
        return make_grid(images, texts)
    titles = [f"seed {seed}" for seed in seeds]
    if len(texts) == 1:
        return make_grid(images, titles, title=texts[0])
    return make_grid(images, columns=len(seeds), row_titles=texts, column_titles=titles)
