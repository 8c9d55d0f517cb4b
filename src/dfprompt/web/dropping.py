"""A picture dropped onto the page: what drew it, read from its text chunks, as texts and settings of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dfprompt.errors import ConfigError, ImageFileError
from dfprompt.excerpt import quote
from dfprompt.images.foreign_recipe import ForeignRecipe
from dfprompt.images.metadata import GenerationMetadata, recipe_of_chunks
from dfprompt.images.reading import text_of_bytes
from dfprompt.prompt import DFPrompt
from dfprompt.requests.base import make_request
from dfprompt.requests.render import RenderSettings

_NO_SETTINGS = frozenset({"batch_size", "ignore_controls", "seed"})


def read_dropped(content: bytes) -> dict[str, Any]:
    """Return what a picture says of how it was drawn: source, text, negative, seed, settings, model, remarks.

    Pictures of ours, of AUTOMATIC1111 and Forge, and of ComfyUI, as `dfprompt inspect` reads them. Raises
    ImageFileError for what is no picture or carries nothing.
    """
    if content[:512].lstrip()[:5].lower() in (b"<svg ", b"<?xml", b"<svg>", b"<!doc"):
        raise ImageFileError("an SVG is a program as much as a picture, and is not read; drop a PNG")
    found = recipe_of_chunks(text_of_bytes(content), "the picture")
    return _ours(found) if isinstance(found, GenerationMetadata) else _theirs(found)


def _ours(found: GenerationMetadata) -> dict[str, Any]:
    known = {name: value for name, value in found.settings.items() if name in RenderSettings.model_fields}
    return _answer(
        "dfprompt", found.df_prompt, found.negative_prompt or "", found.seed, known, found.model.name, []
    )


def _theirs(found: ForeignRecipe) -> dict[str, Any]:
    others, remarks = dict(found.others), list(found.remarks)
    model = next((others.pop(name) for name in ("Model", "ckpt_name", "unet_name") if name in others), None)
    if sampler := others.get("Sampler", others.get("sampler_name")):
        if "scheduler" not in found.settings:
            remarks.append(f"its sampler, {quote(sampler)}, has no name here; choose one under Settings")
    text = _text(found.prompt, found.df_prompt)
    negative = _text(found.negative_prompt, found.df_negative_prompt)
    seed = found.settings.get("seed")
    return _answer(found.program, text, negative, seed, found.settings, model, remarks)


def _text(written: str, read: DFPrompt | None) -> str:
    """Return a prompt as it is written here: as words, where the remarks say that no DF-Prompt says it."""
    return str(DFPrompt.from_plain(written) if read is None else read)


def _answer(
    source: str,
    text: str,
    negative: str,
    seed: Any,
    settings: Mapping[str, Any],
    model: str | None,
    remarks: list[str],
) -> dict[str, Any]:
    taken = {}
    for name, value in settings.items():
        if value is None or name in _NO_SETTINGS:
            continue
        try:  # a file may say anything; what cannot be set here would stop every drawing after it
            make_request(RenderSettings, {name: value})
            taken[name] = value
        except ConfigError as error:
            remarks.append(f"not taken over: {error}")
    fits = type(seed) is int and 0 <= seed < 2**53
    return {
        "source": source,
        "text": text,
        "negative": negative,
        "seed": seed if fits else None,
        "settings": taken,
        "model": model,
        "remarks": remarks,
    }
