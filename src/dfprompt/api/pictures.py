"""Pictures however they are given, and whether a small world's reward may judge them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image
from torch import Tensor

from dfprompt.errors import ConfigError, ImageFileError
from dfprompt.images.metadata import CHUNK, PARAMETERS, find_metadata
from dfprompt.images.reading import Picture, picture_from_pil, read_images
from dfprompt.rewards import Score

ImageLike: TypeAlias = str | Path | Image.Image | Tensor | Picture


def read_pictures(images: Iterable[ImageLike]) -> list[Picture]:
    """Files, PIL images and tensors (3, H, W) as pictures; one ImageFileError names all unreadable files."""
    entries = list(images)
    paths = [entry for entry in entries if isinstance(entry, str | Path)]
    files = iter(read_images(paths))
    return [next(files) if isinstance(entry, str | Path) else _picture(entry) for entry in entries]


def _picture(image: Image.Image | Tensor | Picture) -> Picture:
    if isinstance(image, Picture):
        return image
    if isinstance(image, Image.Image):
        return picture_from_pil(image)
    if isinstance(image, Tensor) and image.ndim == 3:
        return Picture(image, name="tensor")
    raise ConfigError(
        f"an image must be a file, a PIL image or a tensor (3, H, W), got {type(image).__name__}"
    )


def check_origins(loaded: Sequence[Score], pictures: Sequence[Picture]) -> None:
    """Warn if a small world's reward is given a picture file that was not drawn in that world."""
    for domain in dict.fromkeys(tower.domain for score in loaded for tower in score.towers() if tower.domain):
        strange = [picture.name for picture in pictures if picture.text and not _names(picture, domain.name)]
        if strange:
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            domain.warn(f"{strange[0]}{more} was drawn by another model, as its recipe says")


def _names(picture: Picture, world: str) -> bool:
    """Whether the picture's recipe names this world's model; a picture without a recipe may be anything."""
    if not {CHUNK, PARAMETERS} & picture.text.keys():
        return True
    try:
        return world in find_metadata(picture.text, picture.name).model.name
    except ImageFileError:  # another program's, or damaged
        return False
