"""`dfprompt merge`: the parts of an evaluation or a curation become the folder that one run had written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.baselines import RECORD
from dfprompt.config import load_config
from dfprompt.data.curate import RECIPE, SCORES
from dfprompt.data.settings import CurateSettings
from dfprompt.errors import EvaluationError, InputError
from dfprompt.evaluation.run import PICTURES, REWRITES
from dfprompt.excerpt import quote
from dfprompt.measurement.log import ROWS
from dfprompt.measurement.rows import UNSCORED, parse_row
from dfprompt.measurement.shards import ShardNote, check_shards
from dfprompt.requests.doors import front_door
from dfprompt.requests.merge import MergeRequest
from dfprompt.storage import append_lines, read_lines, reading, whole_folder, writing_into

Part = tuple[Path, ShardNote]
_FILES = {"evaluation": (ROWS, REWRITES, PICTURES, RECORD), "curation": (SCORES, RECIPE)}


@dataclass(frozen=True)
class MergeRun:
    """What was put together, from how many parts, and what makes its tables or data sets."""

    folder: Path
    kind: str
    parts: int
    rows: int
    next: str

    def to_json(self) -> dict[str, Any]:
        """Return output, kind, parts, rows and next, the command that goes on with it."""
        named = {"kind": self.kind, "parts": self.parts, "rows": self.rows, "next": self.next}
        return {"output": str(self.folder), **named}


@front_door(MergeRequest, "folders", "output")
def merge_folders(request: MergeRequest) -> MergeRun:
    """Put the parts of a run with `shard` together.

    Nothing is drawn: the folder holds what one run would have measured, and the same command without `shard`
    goes on with it, to tables and data sets. Raises InputError for parts of different runs, parts that are
    missing, given twice or not finished, and for an output that is there already; EvaluationError for
    damaged lines and where the disk refuses.

    >>> # merge_folders(["out/1", "out/2"], "out/whole").next
    """
    target = Path(request.output)
    if os.path.lexists(target):
        raise InputError(f"{target} exists already; a merge writes a new folder: choose another --output")
    if not request.folders:
        raise InputError("name the folders of all parts")
    parts = check_shards([Path(each) for each in request.folders])
    kind = parts[0][1].kind
    head, rows = _read_evaluation(parts) if kind == "evaluation" else _read_curation(parts)
    with writing_into(target.parent, EvaluationError), whole_folder(target) as unfinished:
        for folder, _ in parts:
            for name in _FILES[kind][1:]:
                _copy(folder / name, unfinished / name)
        append_lines(unfinished / _FILES[kind][0], [*head, *rows])
    again = "the same command without --shard" + ("" if kind == "evaluation" else ", with --resume")
    told = f"{again} and with --output {target} writes what follows from it, and draws nothing"
    return MergeRun(target, kind, len(parts), len(rows), told)


def _read_evaluation(parts: Sequence[Part]) -> tuple[list[str], list[str]]:
    """Return the first line of the log and the rows, part by part."""
    heads, logs = [], []
    for folder, note in parts:
        with reading(folder / ROWS, EvaluationError):
            first, *lines = read_lines(folder / ROWS) or [""]
        heads.append((folder, _parse(first, folder / ROWS)))
        found: dict[str, str] = {}
        for number, line in enumerate(lines, 2):
            row = parse_row(line, f"{folder / ROWS}, line {number}")
            if UNSCORED not in row.failed and "method" not in row.failed:
                found[json.dumps(row.key)] = line
        logs.append((folder, note, found))
    _check_same(heads, ("asked", "methods"))
    return [json.dumps(heads[0][1])], [*_without_words(parts), *_join(logs)]


def _without_words(parts: Sequence[Part]) -> list[str]:
    """Return the rows of prompts that a method had no words for: every part has all of them."""
    lines = read_lines(parts[0][0] / ROWS)[1:]
    rows = {line: parse_row(line, str(parts[0][0] / ROWS)) for line in lines}
    return [line for line, row in rows.items() if "method" in row.failed]


def _read_curation(parts: Sequence[Part]) -> tuple[list[str], list[str]]:
    recipes = []
    for folder, _ in parts:
        settings = load_config(CurateSettings, folder / RECIPE)
        recipes.append((folder, settings.model_dump(mode="json", exclude={"scale"})))
    _check_same(recipes, list(recipes[0][1]))
    logs = []
    for folder, note in parts:
        with reading(folder / SCORES, EvaluationError):
            lines = read_lines(folder / SCORES)
        logs.append((folder, note, {str(_parse(line, folder / SCORES).get("key")): line for line in lines}))
    return [], _join(logs)


def _join(logs: Sequence[tuple[Path, ShardNote, Mapping[str, str]]]) -> list[str]:
    """Return the lines of all parts; raises InputError for a row twice, or a part that is not finished."""
    seen: dict[str, Path] = {}
    for folder, note, found in logs:
        if len(found) < note.own:
            raise InputError(
                f"{folder} holds {len(found)} of its {note.own} rows; run its command again, and it goes on"
            )
        for key in found:
            if key in seen:
                raise InputError(
                    f"{seen[key]} and {folder} both hold {quote(key)}; one is no part of this run"
                )
            seen[key] = folder
    if len(seen) != logs[0][1].total:
        raise InputError(f"the parts hold {len(seen)} rows, and the run has {logs[0][1].total}")
    return [line for _, _, found in logs for line in found.values()]


def _check_same(heads: Sequence[tuple[Path, Mapping[str, Any]]], names: Sequence[str]) -> None:
    """Refuse parts that were measured differently: other models, settings, scores, methods."""
    (first, asked), *others = heads
    for folder, other in others:
        for name in names:
            if asked.get(name) != other.get(name):
                raise InputError(
                    f"{first} and {folder} are of different runs ({name} differs): nothing was put together"
                )


def _parse(line: str, path: Path) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise EvaluationError(f"{path} is damaged: {quote(line)}")
    return values


def _copy(source: Path, target: Path) -> None:
    """Copy a file or folder of a part; a link stays one: what it leads to is no part of the run."""
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, dirs_exist_ok=True)
    elif source.exists() and not target.exists():
        shutil.copy2(source, target, follow_symlinks=False)
