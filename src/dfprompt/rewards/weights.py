"""Where the published weights are found: in a folder, in the local Hub cache, or fetched by their id."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.errors import DFPromptWarning, LoadError

_CONFIGS = ("*.json", "*.txt")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class Published:
    """A published model: its hub id, the files needed of it, their size and licence as its page states."""

    hub_id: str
    files: tuple[str, ...]
    size: str
    licence: str

    @property
    def command(self) -> str:
        """The command line that puts the files into the local cache."""
        option = "--include " if any("*" in name for name in self.files) else ""
        return f"hf download {self.hub_id} " + " ".join(f'{option}"{name}"' for name in self.files)


_WHOLE = (*_CONFIGS, "model.safetensors")
CLIP_L = Published("openai/clip-vit-large-patch14", _WHOLE, "1.7 GB", "not stated on its page (code: MIT)")
CLIP_H = Published("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", _CONFIGS, "4 MB", "MIT")
PICKSCORE = Published("yuvalkirstain/PickScore_v1", _WHOLE, "3.9 GB", "not stated on its page")
HPS = Published("xswu/HPSv2", ("HPS_v2.1_compressed.pt",), "2.0 GB", "Apache-2.0")
AESTHETIC = Published(
    "trl-lib/ddpo-aesthetic-predictor", ("aesthetic-model.pth",), "4 MB", "Apache-2.0 (its source repository)"
)


def find_published(published: Published, name: str) -> Path:
    """The cached snapshot of a published model; raises LoadError with the command that fetches it."""
    folder = _cached(published.hub_id, published.files)
    if folder is None:
        raise LoadError(
            f"the weights of {name!r} are not on this machine: {published.hub_id}, {published.size}, licence "
            f"{published.licence}. Fetch them with\n  {published.command}\nor name a folder that holds them"
        )
    return folder


def find_source(source: str, base: Path, files: Sequence[str] = _WHOLE) -> Path:
    """The folder or file that a recipe or an argument names: a path, or a hub id, which may be fetched.

    Relative paths start at `base`. Raises LoadError for what is neither.
    """
    path = Path(source).expanduser()
    path = path if path.is_absolute() else base / path
    if path.exists():
        return path
    if not _HUB_ID.fullmatch(source):
        raise LoadError(f"{source}: no such file or folder, and not a hub id of the form owner/name")
    return _cached(source, files) or _fetch(source, files)


def _cached(hub_id: str, files: Sequence[str]) -> Path | None:
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(hub_id, allow_patterns=list(files), local_files_only=True))
    except (OSError, ValueError):  # not in the cache, or not a name there can be
        return None
    whole = all(any(folder.glob(pattern)) for pattern in files if pattern not in _CONFIGS)
    return folder if whole and any(folder.iterdir()) else None


def _fetch(hub_id: str, files: Sequence[str]) -> Path:
    """Download by id, which is the user's word that the network may be used; say first what will come."""
    from huggingface_hub import HfApi, constants, snapshot_download
    from huggingface_hub.errors import HTTPError

    try:
        info = HfApi().model_info(hub_id, files_metadata=True)
        wanted = [file for file in info.siblings or () if _matches(file.rfilename, files)]
        size = sum(file.size or 0 for file in wanted) / 1e9
        licence = (info.card_data or {}).get("license") or "not stated on its page"
        warnings.warn(
            f"downloading {hub_id}: {size:.2f} GB, licence {licence}, into {constants.HF_HUB_CACHE}",
            DFPromptWarning,
            stacklevel=2,
        )
        return Path(snapshot_download(hub_id, allow_patterns=list(files)))
    except (OSError, ValueError, HTTPError) as error:
        command = Published(hub_id, tuple(files), "", "").command
        reason = str(error).strip().splitlines()[0]
        raise LoadError(
            f"{hub_id} is not on this machine and cannot be downloaded now ({reason}). "
            f"Where there is a network, run\n  {command}"
        ) from error


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns) and "/" not in name
