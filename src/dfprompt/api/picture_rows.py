"""What `dfprompt score` reads: pictures with their prompts; nothing heavy is imported before they are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.storage import parse_lines, parse_object


def rows_to_score(images: Sequence[str], prompt: Sequence[str], prompts: Path | None) -> list[dict[str, Any]]:
    """The rows to score: image, prompt, and whatever else the prompt file says.

    Without a prompt each picture's own is taken: in metadata.jsonl, NAME.txt, or the picture itself.
    """
    folder = Path(images[0]) if len(images) == 1 and Path(images[0]).is_dir() else None
    if prompts is not None:
        if prompt or len(images) != 1 or folder is None:
            raise InputError("--prompts goes with one folder and without --prompt")
        return [_located(row, folder) for row in parse_lines(prompts, read_row, none="no rows")]
    if not prompt:
        return _told_by_themselves(images, folder)
    if folder is not None:
        from dfprompt.images.reading import list_image_files

        images = [str(path) for path in list_image_files(folder)]
    if len(prompt) not in (1, len(images)):
        raise InputError(
            f"{len(images)} pictures take one --prompt for all or {len(images)}, got {len(prompt)}"
        )
    texts = list(prompt) * len(images) if len(prompt) == 1 else prompt
    return [{"image": image, "prompt": text} for image, text in zip(images, texts, strict=True)]


def _told_by_themselves(images: Sequence[str], folder: Path | None) -> list[dict[str, Any]]:
    from dfprompt.data.picture_folders import prompt_of, read_picture_folder
    from dfprompt.data.syntax import strip_syntax

    asked = 'give the plain prompt with --prompt "...", or a folder with --prompts FILE.jsonl'
    if folder is not None:
        try:
            rows = [dict(row) for _, row in read_picture_folder(folder, asked=True)]
        except InputError as error:
            raise InputError(f"{error}; {asked}") from error
    else:
        rows = [{"image": image, "prompt": prompt_of(Path(image), asked=True)} for image in images]
    for row in rows:
        text = row["prompt"]
        row["prompt"] = strip_syntax(text) if isinstance(text, str) else ""
        if not row["prompt"]:
            raise InputError(f"{row['image']}: no prompt beside it or in it; {asked}")
    return rows


def read_row(line: str) -> dict[str, Any]:
    """One line {"image": ..., "prompt": ..., ...}; raises InputError for another."""
    row = parse_object(line)
    if not all(isinstance(row.get(name), str) for name in ("image", "prompt")):
        raise InputError(f'expected {{"image": "...", "prompt": "..."}}, got {quote(line)}')
    return row


def _located(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A name in the prompt file may not lead out of the folder."""
    path = folder / row["image"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{quote(row['image'])} is outside {folder}")
    return {**row, "image": str(path)}
