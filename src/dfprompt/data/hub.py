"""Data sets from the hub: the local cache first; before a download its size, licence and folder are said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfprompt.errors import LoadError
from dfprompt.sources import download, find_cached

_PATTERNS = ("*.parquet", "*.jsonl", "*.csv")


def fetch_dataset(hub_id: str) -> list[Path]:
    """The files of a data set, sorted, all of the first kind found: Parquet, JSONL, CSV.

    Training files alone where the names say which they are. Raises LoadError for a data set that is
    neither cached nor reachable, or has no such files.
    """
    folder = _cached(hub_id) or download(hub_id, _choose, kind="dataset")
    for pattern in _PATTERNS:
        found = sorted(folder.rglob(pattern))
        if found:
            training = [path for path in found if "train" in path.relative_to(folder).as_posix()]
            return training or found
    raise LoadError(f"{hub_id}: the data set has no Parquet, JSONL or CSV files")


def _cached(hub_id: str) -> Path | None:
    folder = find_cached(hub_id, _nested(_PATTERNS), kind="dataset")
    return folder if folder and any(any(folder.rglob(pattern)) for pattern in _PATTERNS) else None


def _choose(names: Sequence[str]) -> list[str]:
    return [name for name in names if Path(name).suffix in _suffixes()]


def _suffixes() -> set[str]:
    return {pattern.removeprefix("*") for pattern in _PATTERNS}


def _nested(patterns: tuple[str, ...]) -> list[str]:
    return [*patterns, *(f"**/{pattern}" for pattern in patterns)]
