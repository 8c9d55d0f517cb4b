"""Where the weights of scores are found: in a folder, in the local Hub cache, or fetched by their id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from dfprompt.errors import LoadError
from dfprompt.published import WHOLE_MODEL, Published, find_whole
from dfprompt.sources import download, hub_id_of


def find_source(source: str, base: Path, files: Sequence[str] = WHOLE_MODEL) -> Path:
    """The folder or file that a recipe or an argument names: a path, or a hub id, which may be fetched.

    Relative paths start at `base`. Raises LoadError for what is neither.
    """
    path = Path(source).expanduser()
    path = path if path.is_absolute() else base / path
    if path.exists():
        return path
    hub_id = hub_id_of(source, base)
    if hub_id is None:
        raise LoadError(f"{source}: no such file or folder, and not a hub id (hub:owner/name)")
    cached = find_whole(hub_id, files)
    if cached is not None:
        return cached
    by_hand = Published(hub_id, tuple(files), 0, "").command
    return download(hub_id, lambda names: [name for name in names if _matches(name, files)], command=by_hand)


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns) and "/" not in name
