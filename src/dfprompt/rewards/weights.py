"""Where the published weights are found: in a folder, in the local Hub cache, or fetched by their id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.errors import LoadError
from dfprompt.sources import download, find_cached, hub_id_of

_CONFIGS = ("*.json", "*.txt")


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
_UNSTATED = "not stated on its page (code: MIT)"
ICT = Published("8y/ICT", ("pytorch_model.bin",), "about 3.9 GB", _UNSTATED)
HP = Published(
    "8y/HP",
    ("hp_backbone/pytorch_model.bin", "hp_scorer/mlp_pytorch_model.bin"),
    "about 3.9 GB",
    _UNSTATED,
)
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
    hub_id = hub_id_of(source, base)
    if hub_id is None:
        raise LoadError(f"{source}: no such file or folder, and not a hub id (hub:owner/name)")
    cached = _cached(hub_id, files)
    if cached is not None:
        return cached
    by_hand = Published(hub_id, tuple(files), "", "").command
    return download(hub_id, lambda names: [name for name in names if _matches(name, files)], command=by_hand)


def _cached(hub_id: str, files: Sequence[str]) -> Path | None:
    folder = find_cached(hub_id, files)
    if folder is None:
        return None
    whole = all(any(folder.glob(pattern)) for pattern in files if pattern not in _CONFIGS)
    return folder if whole else None


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in patterns) and "/" not in name
