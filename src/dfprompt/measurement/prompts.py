"""The plain prompts of an evaluation, and the noise every method shares."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.storage import parse_lines, parse_object

_ID_DIGITS = 12
_NOISE_BYTES = 6  # below 2**53, so that every JSON reader keeps the number


@dataclass(frozen=True)
class PlainPrompt:
    """A user's prompt: its words, the name its rows carry, and the prompt file's other fields for judges."""

    text: str
    id: str = ""
    record: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise InputError("a plain prompt must have words")
        if not self.id:
            digest = hashlib.sha256(self.text.encode("utf-8", "surrogatepass")).hexdigest()
            object.__setattr__(self, "id", digest[:_ID_DIGITS])


def noise_seed(prompt_id: str, seed: int, candidate: int = 0) -> int:
    """Return the seed of a picture's noise: the same for every method, another for every prompt and seed.

    `candidate` numbers the further pictures of a method that draws several and keeps one.

    >>> noise_seed("a", 0) == noise_seed("a", 0), noise_seed("a", 0) == noise_seed("b", 0)
    (True, False)
    """
    name = f"{prompt_id}\x1f{seed}" + (f"\x1f{candidate}" if candidate else "")
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:_NOISE_BYTES], "big")


def read_plain_prompts(source: str | Path) -> list[PlainPrompt]:
    """Read a prompt file: one per line, or in a .jsonl file objects with "prompt" and any other fields.

    Of the other fields "id" names the prompt, "human" holds what a person made of it; a file written by
    `dfprompt curate` serves too ("short" is the plain prompt, "short" and "modifiers" what a person wrote).
    A .csv file is DSG's table of questions (`dfprompt.rewards.atomic.read_dsg`): a prompt per item, its
    questions in the record. Raises InputError naming every line that is wrong.
    """
    path = Path(source)
    if path.suffix == ".csv":
        from dfprompt.rewards.atomic import read_dsg

        return check_prompts([PlainPrompt(row["prompt"].strip(), row["id"], row) for row in read_dsg(path)])
    read = _read_line if path.suffix == ".jsonl" else lambda line: PlainPrompt(line.strip())
    return check_prompts(parse_lines(path, read, none="no prompts"))


def _read_line(line: str) -> PlainPrompt:
    row = parse_object(line)
    if isinstance(row.get("short"), str):
        row = {**row, "human": row.get("human", row.get("prompt", _written(row))), "prompt": row["short"]}
    text, name = row.get("prompt"), row.get("id", "")
    if not isinstance(text, str) or not text.strip():
        raise InputError('no text under "prompt"')
    if not isinstance(name, str | int) or isinstance(name, bool):
        raise InputError(f'"id" must be text, not {quote(name)}')
    return PlainPrompt(text.strip(), str(name), row)


def _written(row: Mapping[str, Any]) -> str | None:
    """What a person wrote, of a curated row: its short form and the modifiers behind it."""
    modifiers = row.get("modifiers")
    if (
        not isinstance(modifiers, list)
        or not modifiers
        or not all(isinstance(each, str) for each in modifiers)
    ):
        return None
    return ", ".join([row["short"], *modifiers])


def check_prompts(prompts: Sequence[PlainPrompt]) -> list[PlainPrompt]:
    """Return the prompts without exact repetitions; raises InputError for one id with two texts."""
    known: dict[str, PlainPrompt] = {}
    for prompt in prompts:
        before = known.setdefault(prompt.id, prompt)
        if before.text != prompt.text:
            raise InputError(
                f"two prompts have the id {quote(prompt.id)}: {quote(before.text)} and {quote(prompt.text)}"
            )
    return list(known.values())


def as_prompts(prompts: Iterable[str | PlainPrompt]) -> list[PlainPrompt]:
    """Return texts and prompts as prompts, checked."""
    return check_prompts([each if isinstance(each, PlainPrompt) else PlainPrompt(each) for each in prompts])
