"""Reading prompts from what people have: tables, text, arrays, folders of pictures, hub data sets."""

from __future__ import annotations

import csv
import itertools
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from dfprompt.data.hub import fetch_dataset
from dfprompt.data.picture_folders import read_picture_folder
from dfprompt.data.records import FIELDS, PromptRecord
from dfprompt.data.settings import SourceSettings
from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.sources import hub_id_of
from dfprompt.storage import iter_user_lines, read_user_text

_MOST_JSON = 200_000_000  # bytes of a list, which has to be read whole
Rows = Iterator[tuple[str, Mapping[str, Any]]]  # where a row stands, and its fields


def read_records(source: str | Path, settings: SourceSettings | None = None) -> Iterator[PromptRecord]:
    """The rows of a source by its kind: .jsonl, .json, .csv, .tsv, .parquet, .txt, .npy, folder, hub id.

    A folder holds pictures, each with its prompt in NAME.txt, in metadata.jsonl or in its own text
    chunks. A hub id (hub:owner/name) is a data set of Parquet, JSONL or CSV files, and may be downloaded.
    Raises InputError naming file and row.
    """
    settings = settings or SourceSettings()
    rows = (_record(where, row, settings) for where, row in _rows_of(source))
    return itertools.islice(rows, settings.limit or None)


def _rows_of(source: str | Path) -> Rows:
    path = Path(source)
    if path.is_dir():
        return read_picture_folder(path)
    if path.exists():
        return _reader_of(path)(path)
    hub_id = hub_id_of(str(source))
    if hub_id is not None:
        files = fetch_dataset(hub_id)
        return itertools.chain.from_iterable(_reader_of(file)(file) for file in files)
    raise InputError(f"{source}: no such file or folder, and no hub id (hub:owner/name)")


def _reader_of(path: Path) -> Callable[[Path], Rows]:
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: prompts are read from {', '.join(_READERS)}, a folder or a hub data set")
    return reader


def _record(where: str, row: Mapping[str, Any], settings: SourceSettings) -> PromptRecord:
    prompt = row.get(settings.prompt)
    if not isinstance(prompt, str):
        known = ", ".join(map(str, row)) or "no fields"
        raise InputError(
            f"{where}: no text under {quote(settings.prompt)}; the row has {known}. "
            "Name the field with --set source.prompt=NAME"
        )
    modifiers = row.get("modifiers")
    listed = isinstance(modifiers, list | tuple) and all(isinstance(each, str) for each in modifiers)
    named = {"prompt": settings.prompt, "image": settings.image, "plain_image": settings.plain_image}
    known_fields = {*FIELDS, *named.values()}
    return PromptRecord(
        prompt=prompt,
        where=where,
        short=_text(row.get("short")),
        modifiers=tuple(modifiers) if listed and modifiers is not None else None,
        image=_text(row.get(settings.image)),
        plain_image=_text(row.get(settings.plain_image)),
        extra={name: each for name, each in row.items() if name not in known_fields and _is_json(each)},
    )


def _is_json(value: object) -> bool:
    """Whether a field can be written again; pictures inside a table cannot."""
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _read_jsonl(path: Path) -> Rows:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield f"{path.name}:{number}", _located(_json(line, f"{path}, line {number}"), path)


def _read_json(path: Path) -> Rows:
    content = _json(read_user_text(path, most=_MOST_JSON), str(path), kind=list)
    for number, row in enumerate(content, 1):
        row = {"prompt": row} if isinstance(row, str) else row
        if not isinstance(row, dict):
            raise InputError(f"{path}, entry {number}: expected an object or a text, got {quote(row)}")
        yield f"{path.name}:{number}", _located(row, path)


def _json(text: str, where: str, kind: type = dict) -> Any:
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: not JSON: {quote(text)}") from error
    if not isinstance(row, kind):
        raise InputError(f"{where}: expected a JSON {'object' if kind is dict else 'list'}, got {quote(row)}")
    return row


def _read_csv(path: Path) -> Rows:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))
    reader = csv.DictReader(_lines(path), delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
    try:
        for row in reader:
            named = {name: value for name, value in row.items() if isinstance(name, str)}
            yield f"{path.name}:{reader.line_num}", _located(named, path)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not a table: {error}") from error


def _read_text(path: Path) -> Rows:
    for number, line in enumerate(_lines(path), 1):
        if line.strip():
            yield f"{path.name}:{number}", {"prompt": line.strip()}


def _read_npy(path: Path) -> Rows:
    try:
        texts = np.load(path, allow_pickle=False)
        if not isinstance(texts, np.ndarray):
            raise ValueError("a .npz file, which holds several")
    except Exception as error:  # numpy reads the header as Python code: its errors are of any class
        raise InputError(
            f"{path}: only arrays of strings are read, never pickled objects ({error}); "
            "save it with numpy.save(path, numpy.array(list_of_texts, dtype=str))"
        ) from error
    if texts.dtype.kind not in "US" or texts.ndim != 1:
        raise InputError(f"{path}: expected one row of strings, got {texts.dtype} of shape {texts.shape}")
    for number, text in enumerate(texts.tolist(), 1):
        said = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        yield f"{path.name}:{number}", {"prompt": said}


def _read_parquet(path: Path) -> Rows:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(f'{path}: reading Parquet needs pyarrow: pip install "dfprompt[data]"') from error
    try:
        table = parquet.ParquetFile(path)
        number = 0
        for batch in table.iter_batches(batch_size=1024):
            for row in batch.to_pylist():
                number += 1
                yield f"{path.name}:{number}", _located(row, path)
    except (OSError, pyarrow.ArrowException) as error:
        raise InputError(f"{path}: not a readable Parquet file: {error}") from error


def _located(row: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    """Picture files are named relative to the file that names them."""
    return {
        name: str(path.parent / value) if name.endswith("image") and _is_relative_file(value, path) else value
        for name, value in row.items()
    }


def _is_relative_file(value: object, path: Path) -> bool:
    return isinstance(value, str) and bool(value) and (path.parent / value).is_file()


def _lines(path: Path) -> Iterator[str]:
    return iter_user_lines(path, most=None, newline="" if path.suffix in (".csv", ".tsv") else None)


_READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".tsv": _read_csv,
    ".parquet": _read_parquet,
    ".txt": _read_text,
    ".npy": _read_npy,
}
