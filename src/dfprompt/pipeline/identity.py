"""Which weights drew a picture: names without folders, and hashes that are computed once per file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from dfprompt.errors import LoadError
from dfprompt.storage import iter_bytes, tidied, write_text

SHOWN = 10  # characters of a hash that recipes carry, as AUTOMATIC1111's do
_known: dict[str, str] = {}


def hash_weights(files: Iterable[Path], root: Path | None = None) -> str:
    """Return the first characters of the SHA-256 of a file, or of the names and hashes of several.

    Names count from `root`, so the folder's own place does not matter; a file outside has its own name.
    Hashes are kept on disk by path, size and time of change, because reading 5 GB takes seconds. Raises
    LoadError for a file that cannot be read.
    """
    paths = sorted(files)
    if len(paths) == 1:
        return _hash_file(paths[0])[:SHOWN]
    inside = (path.relative_to(root) if root and path.is_relative_to(root) else path.name for path in paths)
    lines = [
        f"{_hash_file(path)}  {Path(name).as_posix()}\n" for path, name in zip(paths, inside, strict=True)
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:SHOWN]


def list_weights(folder: Path) -> list[Path]:
    """Return what decides a folder's pictures: the safetensors files of its parts, and its sampler."""
    sampler = folder / "scheduler" / "scheduler_config.json"
    weights = (path for path in folder.rglob("*.safetensors") if path.is_file())
    return sorted([*weights, *([sampler] if sampler.is_file() else [])])


def _hash_file(path: Path) -> str:
    try:
        real = path.resolve()
        state = real.stat()
        key = f"{real}|{state.st_size}|{state.st_mtime_ns}"
        if key not in _known:
            _known.update(_read_kept())
        if key not in _known:
            _known[key] = _compute(real)
            _keep(_known)
    except OSError as error:
        raise LoadError(f"{path} cannot be read ({error.strerror}), so its hash is not known") from error
    return _known[key]


def _compute(path: Path) -> str:
    digest = hashlib.sha256()
    for piece in iter_bytes(path):
        digest.update(piece)
    return digest.hexdigest()


def _kept_in() -> Path:
    from huggingface_hub.constants import HF_ASSETS_CACHE

    return Path(HF_ASSETS_CACHE) / "dfprompt" / "weight-hashes.json"


def _read_kept() -> dict[str, str]:
    try:
        values = json.loads(_kept_in().read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # nothing kept, or damaged: computed anew
    return {str(key): str(value) for key, value in values.items()} if isinstance(values, dict) else {}


def _keep(hashes: dict[str, str]) -> None:
    try:
        with tidied(_kept_in().parent):
            write_text(_kept_in(), json.dumps(hashes))
    except OSError:
        return  # a home that cannot be written only costs time
