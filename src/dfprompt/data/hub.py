"""Data sets from the hub: the local cache first; before a download its size, licence and folder are said."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

from dfprompt.errors import DFPromptWarning, LoadError

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_PATTERNS = ("*.parquet", "*.jsonl", "*.csv")


def fetch_dataset(hub_id: str) -> list[Path]:
    """The files of a data set, sorted, all of the first kind found: Parquet, JSONL, CSV.

    Training files alone where the names say which they are. Raises LoadError for a data set that is
    neither cached nor reachable, or has no such files.
    """
    folder = _cached(hub_id) or _download(hub_id)
    for pattern in _PATTERNS:
        found = sorted(folder.rglob(pattern))
        if found:
            training = [path for path in found if "train" in path.relative_to(folder).as_posix()]
            return training or found
    raise LoadError(f"{hub_id}: the data set has no Parquet, JSONL or CSV files")


def _cached(hub_id: str) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                hub_id, repo_type="dataset", allow_patterns=_nested(_PATTERNS), local_files_only=True
            )
        )
    except (OSError, ValueError):
        return None
    return folder if any(any(folder.rglob(pattern)) for pattern in _PATTERNS) else None


def _download(hub_id: str) -> Path:
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HTTPError

    try:
        info = HfApi().dataset_info(hub_id, files_metadata=True)
        wanted = [file for file in info.siblings or () if Path(file.rfilename).suffix in _suffixes()]
        size = sum(file.size or 0 for file in wanted) / 1e9
        licence = (info.card_data or {}).get("license") or "not stated on its page"
        warnings.warn(
            f"downloading {hub_id}: {size:.2f} GB, licence {licence}, into {constants.HF_HUB_CACHE}",
            DFPromptWarning,
            stacklevel=2,
        )
        return Path(snapshot_download(hub_id, repo_type="dataset", allow_patterns=_nested(_PATTERNS)))
    except (OSError, ValueError, HTTPError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise LoadError(
            f"the data set {hub_id} is not on this machine and cannot be downloaded now ({reason}). "
            f"Where there is a network, run\n  hf download --repo-type dataset {hub_id}"
        ) from error


def _suffixes() -> set[str]:
    return {pattern.removeprefix("*") for pattern in _PATTERNS}


def _nested(patterns: tuple[str, ...]) -> list[str]:
    return [*patterns, *(f"**/{pattern}" for pattern in patterns)]
