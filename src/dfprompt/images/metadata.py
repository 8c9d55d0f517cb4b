"""The recipe a picture carries: what it takes to draw it again, in two PNG text chunks.

`dfprompt` holds everything as JSON; `parameters` what AUTOMATIC1111 and Forge read of it, in their syntax.
Recipes are read from files that anyone may have written, so nothing in them is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dfprompt.errors import ImageFileError
from dfprompt.excerpt import quote
from dfprompt.images.foreign_recipe import ForeignRecipe, find_foreign_recipe
from dfprompt.images.infotext_writer import write_infotext

CHUNK = "dfprompt"
PARAMETERS = "parameters"
MAX_CHARACTERS = 1_000_000

Setting = str | int | float | bool | None


class _Part(BaseModel):
    # What a later version adds is no reason to refuse a picture.
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class ModelMark(_Part):
    """Which weights took part: a name without folders, the first characters of their SHA-256, a strength."""

    name: str = Field(max_length=500)
    hash: str | None = Field(default=None, max_length=128)
    family: str | None = Field(default=None, max_length=100)
    scale: float | None = None


class GenerationMetadata(_Part):
    """What it takes to draw a picture again.

    `prompt` holds the plain words and `df_prompt` the DF-Prompt; `asked` the plain prompt that was rewritten
    to them, if that is known; `settings` what was asked of the pipeline, by its own names; `scores` the
    numbers the picture was given.

    >>> recipe = GenerationMetadata(prompt="a cat", df_prompt="a cat", seed=7, model=ModelMark(name="mini"))
    >>> parse_metadata(recipe.to_json_text()) == recipe
    True
    """

    dfprompt: Literal[1] = 1
    version: str = Field(default="", max_length=100)
    prompt: str
    df_prompt: str
    asked: str | None = None
    negative_prompt: str | None = None
    plain_negative_prompt: str | None = None
    seed: int = Field(ge=0, lt=2**64)
    settings: Mapping[str, Setting] = Field(default_factory=dict, max_length=100)
    model: ModelMark
    vae: ModelMark | None = None
    loras: tuple[ModelMark, ...] = Field(default=(), max_length=100)
    policy: ModelMark | None = None
    scores: Mapping[str, float] = Field(default_factory=dict, max_length=1000)

    def to_json_text(self) -> str:
        """Return the recipe as one line of ASCII JSON, without what is not set."""
        return json.dumps(self.model_dump(mode="json", exclude_none=True))

    def to_chunks(self) -> dict[str, str]:
        """Return the PNG text chunks by keyword."""
        return {CHUNK: self.to_json_text(), PARAMETERS: self.to_parameters()}

    def to_parameters(self) -> str:
        """Return the text that AUTOMATIC1111 and Forge read: their syntax, their names of settings.

        What cannot be said there is named in the setting `DF-Prompt remarks`.
        """
        return write_infotext(self)


def parse_metadata(text: str, name: str = "the picture") -> GenerationMetadata:
    """Read the JSON of a recipe; raises ImageFileError that says what is wrong with it.

    >>> parse_metadata("[]", "a.png")
    Traceback (most recent call last):
        ...
    dfprompt.errors.ImageFileError: a.png: its recipe is damaged: input should be an object
    """
    if len(text) > MAX_CHARACTERS:
        raise ImageFileError(f"{name}: its recipe has {len(text):,} characters, more than {MAX_CHARACTERS:,}")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageFileError(f"{name}: its recipe is no JSON: {quote(text)}") from error
    if not isinstance(values, dict):
        raise ImageFileError(f"{name}: its recipe is damaged: input should be an object")
    try:
        return GenerationMetadata.model_validate(values)
    except ValidationError as error:
        problems = [_describe(detail) for detail in error.errors(include_url=False)[:5]]
        raise ImageFileError(f"{name}: its recipe is damaged: {'; '.join(problems)}") from error


def find_metadata(chunks: Mapping[str, str], name: str = "the picture") -> GenerationMetadata:
    """Return the recipe among a picture's text chunks; raises ImageFileError if there is none."""
    found = recipe_of_chunks(chunks, name)
    if isinstance(found, ForeignRecipe):
        raise ImageFileError(
            f"{name}: it carries no dfprompt recipe, only another program's ({found.program}): "
            f"{quote(found.prompt, 200)}"
        )
    return found


def read_metadata(path: str | Path) -> GenerationMetadata:
    """Return the recipe in a picture file; raises ImageFileError if it has none, or a damaged one."""
    from dfprompt.images.reading import read_text

    return find_metadata(read_text(path), str(path))


def read_any_recipe(path: str | Path) -> GenerationMetadata | ForeignRecipe:
    """Return a picture's recipe, ours or another program's; raises ImageFileError if it has neither."""
    from dfprompt.images.reading import read_text

    return recipe_of_chunks(read_text(path), str(path))


def recipe_of_chunks(chunks: Mapping[str, str], name: str) -> GenerationMetadata | ForeignRecipe:
    """Return the recipe in a picture's text chunks, ours before another program's.

    Raises ImageFileError if there is neither, or a damaged one.
    """
    if CHUNK in chunks:
        return parse_metadata(chunks[CHUNK], name)
    found = find_foreign_recipe(chunks, name)
    if found is None:
        raise ImageFileError(
            f"{name}: it carries no recipe of dfprompt, AUTOMATIC1111, Forge or ComfyUI; "
            "sites and programs that save a picture anew lose it"
        )
    return found


def _describe(detail: Any) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    message = str(detail["msg"])
    return f"{quote(key)}: {message[:1].lower()}{message[1:]}, got {quote(detail['input'])}"
