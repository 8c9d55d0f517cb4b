"""A picture dropped onto the page: what drew it, read from its text chunks, as texts and settings of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

from dfprompt.errors import DFPromptError, ImageFileError, InputError
from dfprompt.excerpt import quote
from dfprompt.images.metadata import CHUNK, MAX_CHARACTERS, PARAMETERS, find_metadata
from dfprompt.images.reading import text_of_bytes
from dfprompt.prompt.dialects import import_prompt
from dfprompt.requests.render import RenderSettings

COMFYUI = "prompt"  # the chunk in which ComfyUI keeps the graph it ran
_NEGATIVE = "Negative prompt:"
_ITEM = re.compile(r"\s*([A-Za-z][\w ./-]{0,40}):\s*(\"(?:[^\"\\]|\\.)*\"|[^,]*)(?:,|$)")
_HOPS = 20  # nodes followed from a sampler to its text
_NO_SETTINGS = frozenset({"batch_size", "ignore_controls"})
_A1111 = {"Steps": "num_inference_steps", "CFG scale": "guidance_scale", "Clip skip": "clip_skip"}


def read_dropped(content: bytes) -> dict[str, Any]:
    """Return what a picture says of how it was drawn: source, text, negative, seed, settings, model, remarks.

    Pictures of ours, of AUTOMATIC1111 and Forge, and of ComfyUI's core nodes. Raises ImageFileError for what
    is no picture or carries nothing, ParseError or ConversionError for a prompt that cannot be read.
    """
    if content[:512].lstrip()[:5].lower() in (b"<svg ", b"<?xml", b"<svg>", b"<!doc"):
        raise ImageFileError("an SVG is a program as much as a picture, and is not read; drop a PNG")
    chunks = text_of_bytes(content)
    if CHUNK in chunks:
        return _ours(chunks)
    if len(chunks.get(PARAMETERS, "")) > MAX_CHARACTERS or len(chunks.get(COMFYUI, "")) > 8 * MAX_CHARACTERS:
        raise ImageFileError("its text chunks are larger than any prompt")
    if PARAMETERS in chunks:
        return _a1111(chunks[PARAMETERS])
    if COMFYUI in chunks:
        return _comfyui(chunks[COMFYUI])
    raise ImageFileError("it says nothing of how it was drawn; pictures lose that when sites save them anew")


def _ours(chunks: Mapping[str, str]) -> dict[str, Any]:
    found = find_metadata(chunks, "the picture")
    known = RenderSettings.model_fields.keys() - _NO_SETTINGS
    settings = {name: value for name, value in found.settings.items() if name in known and value is not None}
    return _answer("dfprompt", found.df_prompt, found.negative_prompt, found.seed, settings, found.model.name)


def _a1111(text: str) -> dict[str, Any]:
    """Read the text that AUTOMATIC1111 and Forge write: prompt, negative prompt, a line of settings."""
    lines = text.strip().split("\n")
    items = dict(_ITEM.findall(lines[-1]))
    settings = {_A1111[name]: _number(value) for name, value in items.items() if name in _A1111}
    body = "\n".join(lines[:-1] if "Steps" in items else lines)
    prompt, _, negative = body.partition(_NEGATIVE)
    if (size := re.fullmatch(r"(\d{1,5})x(\d{1,5})", items.get("Size", ""))) is not None:
        settings |= {"width": int(size[1]), "height": int(size[2])}
    steps = settings.get("num_inference_steps")
    read = [_imported(each.strip(), "a1111", steps) for each in (prompt, negative)]
    remarks = [remark for each in read for remark in each[1]]
    if "Sampler" in items:
        remarks.append(f"its sampler, {quote(items['Sampler'])}, is not set here; choose one under Settings")
    seed = _number(items.get("Seed", ""))
    settings = {name: value for name, value in settings.items() if value is not None}
    return _answer("AUTOMATIC1111", read[0][0], read[1][0], seed, settings, items.get("Model"), remarks)


def _comfyui(text: str) -> dict[str, Any]:
    """Read the graph that ComfyUI ran: its first sampler, and the texts that lead to it."""
    try:
        nodes = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ImageFileError("its ComfyUI graph is no JSON") from error
    listed = nodes.values() if _is_map(nodes) else ()
    inputs = [node.get("inputs") for node in listed if isinstance(node, dict)]
    sides = {"positive", "negative"}
    sampler = next((each for each in inputs if _is_map(each) and sides <= each.keys()), None)
    if sampler is None:
        raise ImageFileError("its ComfyUI graph has no sampler with a positive and a negative prompt")
    texts = [_text_behind(nodes, sampler[side]) for side in ("positive", "negative")]
    read = [_imported(text, "comfyui", None) for text in texts]
    values = {
        "num_inference_steps": _plain(sampler.get("steps")),
        "guidance_scale": _plain(sampler.get("cfg")),
    }
    settings = {name: value for name, value in values.items() if value is not None}
    seed = _plain(sampler.get("seed", sampler.get("noise_seed")))
    remarks = [remark for each in read for remark in each[1]]
    return _answer("ComfyUI", read[0][0], read[1][0], seed, settings, None, remarks)


def _text_behind(nodes: Mapping[str, Any], link: Any) -> str:
    """Follow links from a sampler's input to the node that holds a text."""
    for _ in range(_HOPS):
        node = nodes.get(str(link[0])) if isinstance(link, list) and link else None
        inputs = node.get("inputs") if _is_map(node) else None
        if not _is_map(inputs):
            break
        if isinstance(inputs.get("text"), str):
            return str(inputs["text"])
        leads = ("text", "conditioning", "conditioning_1")
        link = next((inputs[name] for name in leads if name in inputs), None)
    raise ImageFileError("its ComfyUI graph holds no prompt text that can be followed; copy it by hand")


def _imported(text: str, dialect: str, steps: Any) -> tuple[str, list[str]]:
    if not text:
        return "", []
    try:
        found = import_prompt(text, dialect, steps if isinstance(steps, int) else None)
    except DFPromptError as error:
        raise InputError(f"its prompt cannot be read as {dialect}: {error}") from error
    assumed, lost = (f"assumed: {each}" for each in found.assumed), (f"lost: {each}" for each in found.lost)
    return str(found.prompt), [*assumed, *lost]


def _answer(
    source: str,
    text: str,
    negative: str | None,
    seed: Any,
    settings: Mapping[str, Any],
    model: str | None = None,
    remarks: list[str] | None = None,
) -> dict[str, Any]:
    fits = type(seed) is int and 0 <= seed < 2**53
    return {
        "source": source,
        "text": text,
        "negative": negative or "",
        "seed": seed if fits else None,
        "settings": dict(settings),
        "model": model,
        "remarks": remarks or [],
    }


def _is_map(value: Any) -> TypeGuard[dict[str, Any]]:
    return isinstance(value, dict)


def _number(text: str) -> int | float | None:
    if re.fullmatch(r"\d{1,19}", text.strip()):
        return int(text)
    return float(text) if re.fullmatch(r"\d{1,6}\.\d{1,6}", text.strip()) else None


def _plain(value: Any) -> int | float | None:
    return value if type(value) in (int, float) else None
