"""Writing pictures: all of a set or none, each with its recipe, by way of temporary names."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfprompt.errors import GenerationError
from dfprompt.images.metadata import GenerationMetadata
from dfprompt.images.reading import GRID
from dfprompt.storage import check_free, reported, whole_files


class Entry(NamedTuple):
    """One picture to be written, with the recipe it carries, if any; a grid says that it is one."""

    path: Path
    image: Image.Image
    recipe: GenerationMetadata | None = None
    is_grid: bool = False


def save_pictures(entries: Sequence[Entry], *, force: bool = False) -> list[Path]:
    """Write PNG files, all of them or none, and return their paths; missing folders are made.

    Raises InputError before anything is written if a file exists and `force` is false, or if two
    entries have one name; GenerationError if the disk refuses.
    """
    paths = [entry.path for entry in entries]
    check_free(paths, force=force)
    if not paths:
        return []
    where = paths[0] if len(paths) == 1 else paths[0].parent
    with reported(where, GenerationError), whole_files(*paths) as unfinished:
        for entry, place in zip(entries, unfinished, strict=True):
            entry.image.save(place, format="PNG", pnginfo=_text_chunks(_said_by(entry)))
    return paths


def png_of(image: Image.Image, recipe: GenerationMetadata | None = None) -> bytes:
    """Return a picture as the bytes of a PNG file that carries its recipe."""
    content = io.BytesIO()
    image.save(content, format="PNG", pnginfo=_text_chunks(recipe.to_chunks() if recipe else {}))
    return content.getvalue()


def _said_by(entry: Entry) -> dict[str, str]:
    own = entry.recipe.to_chunks() if entry.recipe else {}
    return {**own, GRID: "several pictures, for looking at"} if entry.is_grid else own


def _text_chunks(texts: Mapping[str, str]) -> PngInfo | None:
    if not texts:
        return None
    chunks = PngInfo()
    for keyword, text in texts.items():
        # A null byte would end the chunk's keyword, and a lone surrogate has no bytes.
        safe = text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
        chunks.add_text(keyword, safe)
    return chunks
