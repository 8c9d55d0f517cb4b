"""Drawing a picture again from the recipe it carries, and saying how near the two are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfprompt.config import make_config
from dfprompt.errors import ConfigError, ImageFileError
from dfprompt.images.metadata import GenerationMetadata, ModelMark, find_metadata
from dfprompt.images.reading import read_image
from dfprompt.images.tensors import to_levels
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.pipeline.progress import Report
from dfprompt.prompt.parser import read_back
from dfprompt.requests.render import RenderSettings


@dataclass(frozen=True, eq=False)
class Recreation:
    """A picture drawn again: how many of 255 levels it is off at most and on average, and why it may be."""

    pictures: Pictures
    largest: int
    mean: float
    remarks: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """Whether every pixel has the same level."""
        return self.largest == 0

    def summary(self) -> str:
        """One line for people."""
        if self.identical:
            return "drawn again: identical, pixel for pixel"
        return f"drawn again: at most {self.largest} of 255 levels off, {self.mean:.3f} on average"

    def to_json(self) -> dict[str, Any]:
        """Return identical, largest and mean difference in levels of 255, remarks."""
        return {
            "identical": self.identical,
            "largest": self.largest,
            "mean": round(self.mean, 6),
            "remarks": list(self.remarks),
        }


def recreate_picture(
    path: str | Path, pipeline: ImagePipeline, *, progress: bool | Report = False
) -> Recreation:
    """Draw a picture again with a pipeline, as its recipe says, and compare the two.

    Raises ImageFileError for a picture without a recipe or with one that no pipeline can follow.
    """
    picture = read_image(path)
    recipe = find_metadata(picture.text, str(path))
    known = {name: value for name, value in recipe.settings.items() if name in RenderSettings.model_fields}
    try:
        settings = make_config(RenderSettings, known, origin=f"{path}: the recipe's settings")
    except ConfigError as error:
        raise ImageFileError(str(error)) from error
    negative = None if recipe.negative_prompt is None else read_back(recipe.negative_prompt)
    request = pipeline.read(read_back(recipe.df_prompt), recipe.seed, settings, negative_prompt=negative)
    size = (request.settings.height, request.settings.width)
    if size != picture.size:  # said before an unknown file's word is taken for a huge drawing
        raise ImageFileError(f"{path} is {_pixels(picture.size)}, its recipe draws {_pixels(size)}")
    drawn = pipeline.draw_request(request, progress=progress)
    first, second = to_levels(picture.pixels[None]), to_levels(drawn.images)
    apart = np.abs(first.astype(np.int16) - second.astype(np.int16))
    remarks = tuple(_compare(recipe, drawn.recipes()[0]))
    return Recreation(drawn, int(apart.max()), float(apart.mean()), remarks)


def _compare(recipe: GenerationMetadata, again: GenerationMetadata) -> Iterator[str]:
    """Say what differs between the recipe and what was used now."""
    pairs = [("model", recipe.model, again.model), ("VAE", recipe.vae, again.vae)]
    for what, then, now in pairs:
        if _key(then) != _key(now):
            yield f"the {what} was {_title(then)}, now {_title(now)}"
    if [_key(lora) for lora in recipe.loras] != [_key(lora) for lora in again.loras]:
        then_all, now_all = (", ".join(map(_title, each.loras)) or "none" for each in (recipe, again))
        yield f"the LoRAs were {then_all}, now {now_all}"
    then_dtype, now_dtype = (each.settings.get("dtype") for each in (recipe, again))
    if then_dtype not in (None, now_dtype):
        yield f"it was drawn in {then_dtype}, now in {now_dtype}"


def _key(mark: ModelMark | None) -> tuple[str | None, float | None] | None:
    return None if mark is None else (mark.hash or mark.name, mark.scale)


def _title(mark: ModelMark | None) -> str:
    if mark is None:
        return "the pipeline's own"
    scale = f" at {mark.scale:g}" if mark.scale is not None else ""
    return f"{mark.name} ({mark.hash or 'hash not known'}){scale}"


def _pixels(size: tuple[int | None, int | None]) -> str:
    height, width = size
    return f"{width} x {height} pixels"
