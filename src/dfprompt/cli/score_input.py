"""What `dfprompt score` and `dfprompt calibrate` read: pictures with their prompts, and plain prompts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfprompt.errors import DFPromptError, InputError
from dfprompt.excerpt import quote
from dfprompt.storage import parse_object


def rows_to_score(images: Sequence[str], prompt: Sequence[str], prompts: Path | None) -> list[dict[str, Any]]:
    """The rows to score: image, prompt, and whatever else the prompt file says.

    Without a prompt each picture's own is taken: in metadata.jsonl, NAME.txt, or the picture itself.
    """
    folder = Path(images[0]) if len(images) == 1 and Path(images[0]).is_dir() else None
    if prompts is not None:
        if prompt or len(images) != 1 or folder is None:
            raise InputError("--prompts goes with one folder and without --prompt")
        return [_located(row, folder) for row in _json_lines(prompts)]
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


def read_row(line: str, where: str) -> dict[str, Any]:
    """One line {"image": ..., "prompt": ..., ...}; `where` names it in the InputError."""
    row = parse_object(line, where)
    if not all(isinstance(row.get(name), str) for name in ("image", "prompt")):
        raise InputError(f'{where}: expected {{"image": "...", "prompt": "..."}}, got {quote(line)}')
    return row


def _json_lines(source: Path) -> list[dict[str, Any]]:
    rows, problems = [], []
    for number, line in enumerate(_lines(source), 1):
        try:
            if line.strip():
                rows.append(read_row(line, f"{source}, line {number}"))
        except DFPromptError as error:
            problems.append(str(error))
    if problems:
        raise InputError("\n".join(problems))
    if not rows:
        raise InputError(f"{source}: no rows")
    return rows


def _located(row: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A name in the prompt file may not lead out of the folder."""
    path = folder / row["image"]
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{quote(row['image'])} is outside {folder}")
    return {**row, "image": str(path)}


def read_prompts(source: Path) -> list[str]:
    """The plain prompts of a file: one per line, or in a .jsonl file the text under "prompt"."""
    texts = [
        _prompt_of(line, f"{source}, line {number}") if source.suffix == ".jsonl" else line.strip()
        for number, line in enumerate(_lines(source), 1)
        if line.strip()
    ]
    if not texts:
        raise InputError(f"{source}: no prompts")
    return texts


def _prompt_of(line: str, where: str) -> str:
    prompt = parse_object(line, where).get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise InputError(f'{where}: no text under "prompt"')
    return prompt.strip()


def _lines(source: Path) -> list[str]:
    try:
        return source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {source}: {error}") from error
