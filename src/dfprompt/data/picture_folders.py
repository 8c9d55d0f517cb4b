"""Folders of pictures with prompts: metadata.jsonl, NAME.txt beside NAME.png, or the picture's own chunks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dfprompt.errors import ImageFileError, InputError
from dfprompt.excerpt import quote
from dfprompt.images.foreign_recipe import MOST_CHARACTERS, find_foreign_recipe
from dfprompt.images.metadata import CHUNK, parse_metadata
from dfprompt.images.reading import list_image_files, read_text

METADATA = "metadata.jsonl"


def read_picture_folder(folder: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The pictures of a folder with their prompts; raises InputError for one that has none."""
    described = _metadata(folder / METADATA)
    for path in list_image_files(folder):
        row = dict(described.get(path.name, {}))
        prompt = row.pop("prompt", None) or row.pop("text", None) or prompt_of(path)
        if prompt is None:
            raise InputError(
                f"{path}: no prompt for this picture: not in {METADATA}, not in {path.stem}.txt, and none "
                "in its own text chunks as dfprompt, AUTOMATIC1111, Forge or ComfyUI write them"
            )
        yield path.name, {**row, "prompt": prompt, "image": str(path)}


def _metadata(path: Path) -> dict[str, dict[str, Any]]:
    """Rows by file name, in the layout of an imagefolder data set: {"file_name": ..., "text": ...}."""
    if not path.is_file():
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    found = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            name = row.pop("file_name", None) or row.pop("image")
            found[str(name)] = row
        except (ValueError, RecursionError, KeyError, AttributeError, TypeError) as error:
            raise InputError(
                f'{path}, line {number}: expected {{"file_name": "...", "prompt": "..."}}, got {quote(line)}'
            ) from error
    return found


def prompt_of(picture: Path) -> str | None:
    """The plain prompt in NAME.txt beside a picture or in its own chunks; raises InputError for damaged ones."""
    return _beside(picture) or _inside(picture)


def _beside(path: Path) -> str | None:
    sidecar = path.with_suffix(".txt")
    if not sidecar.is_file():
        return None
    try:
        with sidecar.open(encoding="utf-8-sig", errors="replace") as file:
            return file.read(MOST_CHARACTERS).strip() or None
    except OSError as error:
        raise InputError(f"cannot read {sidecar}: {error.strerror}") from error


def _inside(path: Path) -> str | None:
    """The prompt a picture carries: ours without its ranges and weights, else another program's as written."""
    try:
        chunks = read_text(path)
        if CHUNK in chunks:
            return parse_metadata(chunks[CHUNK], path.name).prompt
        found = find_foreign_recipe(chunks, path.name)
    except ImageFileError as error:
        raise InputError(str(error)) from error
    return found and " ".join(found.prompt.split()) or None
