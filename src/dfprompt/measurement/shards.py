"""One run in several folders: every n-th batch each, the same batches as in one, put together afterwards."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from dfprompt.errors import EvaluationError, InputError
from dfprompt.excerpt import quote
from dfprompt.storage import parse_object, read_lines, reading, reported, write_text

Item = TypeVar("Item")
SHARD = "shard.json"


@dataclass(frozen=True)
class Shard:
    """The part `number` of `of`, counted from 1.

    >>> shard = Shard.parse("2/3")
    >>> list(shard.pick(["a", "b", "c", "d", "e"]))
    ['b', 'e']
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read "3/8"; raises InputError for anything else."""
        found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text.strip())
        if found is None or not 1 <= int(found[1]) <= int(found[2]):
            raise InputError(f"--shard takes I/N, as 3/8 for the third of eight, not {quote(text)}")
        return cls(int(found[1]), int(found[2]))

    def pick(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield this part's batches."""
        return islice(batches, self.number - 1, None, self.of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class ShardNote:
    """What a shard's folder says of itself: a digest of all that is asked; how much, here and in all."""

    kind: str
    shard: Shard
    digest: str
    own: int
    total: int


def note_shard(folder: Path, kind: str, shard: Shard, batches: Sequence[Sequence[str]]) -> None:
    """Write down which part a folder is; `batches` are the names of everything asked for.

    Raises InputError where the folder is another part, or one of another run.
    """
    names = [name for batch in batches for name in batch]
    digest = hashlib.sha256("\n".join(names).encode("utf-8", "surrogatepass")).hexdigest()[:16]
    note = ShardNote(kind, shard, digest, sum(map(len, shard.pick(batches))), len(names))
    before = read_shard(folder)
    if before is not None and before != note:
        raise InputError(
            f"{folder} holds shard {before.shard} of {before.total} rows, and asked for is shard {shard} of "
            f"{note.total}, or of other prompts; choose another --output"
        )
    values = {"dfprompt": 1, "kind": kind, "shard": str(shard), "digest": digest}
    with reported(folder / SHARD, EvaluationError):
        write_text(folder / SHARD, json.dumps({**values, "own": note.own, "total": note.total}) + "\n")


def read_shard(folder: Path) -> ShardNote | None:
    """Return what a folder says it is a part of; None if it says nothing. Raises EvaluationError."""
    place = folder / SHARD
    with reading(place, EvaluationError):
        lines = read_lines(place)
    if not lines:
        return None
    try:
        values = parse_object(lines[0])
        kind, shard, digest = (str(values[name]) for name in ("kind", "shard", "digest"))
        return ShardNote(kind, Shard.parse(shard), digest, int(values["own"]), int(values["total"]))
    except (InputError, KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise EvaluationError(f"{place} is damaged; run that shard again in an empty folder") from error


def check_shards(folders: Sequence[Path]) -> list[tuple[Path, ShardNote]]:
    """Return the folders in the order of their numbers; raises InputError unless they make up one run."""
    found = []
    for folder in folders:
        note = read_shard(folder)
        if note is None:
            raise InputError(f"{folder} holds no {SHARD}: it is no part of a run with --shard")
        found.append((folder, note))
    first = found[0][1]
    for folder, note in found:
        if (note.kind, note.digest, note.shard.of) != (first.kind, first.digest, first.shard.of):
            raise InputError(
                f"{folder} is shard {note.shard} of another {note.kind} than {found[0][0]}, shard "
                f"{first.shard}: prompts, methods, seeds or the number of shards differ"
            )
    numbers = [note.shard.number for _, note in found]
    if twice := sorted({each for each in numbers if numbers.count(each) > 1}):
        both = ", ".join(str(folder) for folder, note in found if note.shard.number == twice[0])
        raise InputError(f"shard {twice[0]} of {first.shard.of} is given twice: {both}")
    if missing := [each for each in range(1, first.shard.of + 1) if each not in numbers]:
        raise InputError(f"of {first.shard.of} shards these are missing: {', '.join(map(str, missing))}")
    return sorted(found, key=lambda each: each[1].shard.number)
