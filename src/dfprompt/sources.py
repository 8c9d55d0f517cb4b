"""Where things come from and where they run: devices, precisions, hub ids, the local cache, downloads.

One of each for every room. Importing this module imports neither torch nor the hub's library.
"""

from __future__ import annotations

import ctypes
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from dfprompt.config import nearest
from dfprompt.errors import ConfigError, DFPromptWarning, LoadError
from dfprompt.excerpt import quote

if TYPE_CHECKING:
    import torch

_LOG = logging.getLogger(__name__)
DTYPES = ("float32", "float16", "bfloat16")
RepoKind: TypeAlias = Literal["model", "dataset"]
Choose: TypeAlias = Callable[[Sequence[str]], Sequence[str]]
"""Picks, of the names of a repository's files, those that are needed."""

_HUB = "hub:"
_LONGEST_ID = 96  # the hub's own limit
# First parts of paths that people have: a mistyped one must tell the hub nothing.
_FOLDERS = frozenset(
    "checkpoints data datasets dfprompt-out experiments images lora loras models output outputs pictures "
    "pipelines policies policy recipes rewards runs tmp weights".split()
)
# Last parts of files that people have: such a name that is not there is mistyped, too.
_FILES = frozenset(
    ".bin .ckpt .csv .gguf .jpeg .jpg .json .jsonl .md .npy .parq .parquet .pickle .pkl .png .pt .pth .py "
    ".safetensors .toml .tsv .txt .webp .yaml .yml".split()
)
_warned: set[str] = set()
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_DEVICE = re.compile(r"(auto|cpu|cuda|mps)(?::(\d+))?")
_USE = "use auto, cpu, cuda, cuda:1 or mps"
_DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # NVIDIA's, on Linux and on Windows
_ROCM = Path("/dev/kfd")  # AMD's; torch calls its GPUs cuda as well


def is_hub_id(source: str) -> bool:
    """Say whether a text has the form of a hub id, owner/name; it may be a path as well.

    >>> is_hub_id("openai/clip-vit-large-patch14"), is_hub_id("../clip"), is_hub_id("a/b/c")
    (True, False, False)
    """
    return len(source) <= _LONGEST_ID and _HUB_ID.fullmatch(source) is not None


def hub_id_of(source: str, base: Path = Path()) -> str | None:
    """Return the hub id a source names, None where it names a path; the network is not asked.

    "hub:owner/name" is a hub id whatever lies on the disk. The bare form is one too, with one warning, unless
    something of that name is there (from `base`), it ends as files do, or it looks like a folder: its first
    part is one that is there, or a usual name. Raises LoadError for "hub:" before anything else.

    >>> hub_id_of("hub:openai/clip-vit-large-patch14"), hub_id_of("runs/sft"), hub_id_of("my/a.safetensors")
    ('openai/clip-vit-large-patch14', None, None)
    """
    if source.startswith(_HUB):
        named = source.removeprefix(_HUB)
        if not is_hub_id(named):
            raise LoadError(f"{quote(source)} names no model of the hub; write hub:owner/name")
        return named
    first = Path(source).parts[0] if source else ""
    if not is_hub_id(source) or looks_like_file(source):
        return None
    if first.lower() in _FOLDERS or _exists(base / source) or _exists(base / first):
        return None
    if source not in _warned:
        _warned.add(source)
        warnings.warn(
            f"{quote(source)} is no folder here, so it is taken for a model of the hub; write {_HUB}{source}",
            DFPromptWarning,
            stacklevel=3,
        )
    return source


def looks_like_file(source: str) -> bool:
    """Say whether a name ends as files of models and data do.

    >>> looks_like_file("heads/sac.pth"), looks_like_file("owner/model-v1.5")
    (True, False)
    """
    return Path(source).suffix.lower() in _FILES


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name too long, a null byte
        return False


def check_device(device: str) -> None:
    """Raise ConfigError for a device that cannot be there, without importing torch.

    What passes may still be missing (a driver without a GPU); `pick_device` asks torch.

    >>> check_device("cpu")
    """
    found = _DEVICE.fullmatch(device)
    if found is None:
        raise ConfigError(f"there is no device {quote(device)}; {_USE}")
    kind = found[1]
    if (kind == "mps" and sys.platform != "darwin") or (kind == "cuda" and not _has_driver()):
        raise _not_there(device)


def _has_driver() -> bool:
    """Whether a driver that torch could reach a GPU through is installed."""
    for name in _DRIVERS:
        try:
            ctypes.CDLL(name)
        except OSError:
            continue
        return True
    return _ROCM.exists()


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device asked for; "auto" takes CUDA, then Apple's GPU, then the CPU.

    Raises ConfigError for a device that torch does not know or does not see.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    import torch

    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"there is no device {quote(str(device))}; {_USE}") from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (picked.index or 0) >= there.get(picked.type, 0):
        raise _not_there(str(device))
    return picked


def _not_there(device: str) -> ConfigError:
    return ConfigError(f"device {quote(device)} is not there: torch sees no such GPU; use auto or cpu")


def pick_dtype(
    dtype: str | torch.dtype, device: torch.device, *, half: Literal["float16", "bfloat16"] = "float16"
) -> torch.dtype:
    """Return the precision asked for; "auto" is float32 on a CPU, and `half` on a GPU.

    Raises ConfigError for a name that is none.

    >>> import torch
    >>> pick_dtype("auto", torch.device("cpu")), pick_dtype("auto", torch.device("cuda"), half="bfloat16")
    (torch.float32, torch.bfloat16)
    """
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        dtype = "float32" if device.type == "cpu" else half
    if dtype not in DTYPES:
        raise ConfigError(f"there is no dtype {quote(dtype)}; {nearest(dtype, ('auto', *DTYPES))}")
    picked: torch.dtype = getattr(torch, dtype)
    return picked


def peek_cached(hub_id: str) -> Path | None:
    """Return the snapshot of a model in the local cache by the cache's own layout, without the hub's library.

    >>> peek_cached("nobody/has-this")
    """
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE", Path(os.environ.get("HF_HOME", home)) / "hub")).expanduser()
    place = cache / f"models--{hub_id.removeprefix(_HUB).replace('/', '--')}"
    try:
        folder = place / "snapshots" / (place / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return folder if folder.is_dir() else None


def find_cached(hub_id: str, files: Sequence[str] | None = None, *, kind: RepoKind = "model") -> Path | None:
    """Return the snapshot of a repository in the local cache, never asking the network; None without one.

    `files` are patterns of the files that matter; nothing is checked of what is there.
    """
    from huggingface_hub import snapshot_download

    try:
        folder = Path(
            snapshot_download(
                hub_id, repo_type=kind, allow_patterns=list(files) if files else None, local_files_only=True
            )
        )
    except (OSError, ValueError):  # not in the cache, or not a name there can be
        return None
    return folder if any(folder.iterdir()) else None


class Download(NamedTuple):
    """What a repository would send: the files, their size in GB, the licence its page names."""

    files: list[str]
    gigabytes: float
    licence: str


def measure_download(hub_id: str, choose: Choose, *, kind: RepoKind = "model", command: str = "") -> Download:
    """Ask the hub what the chosen files of a repository weigh, and their licence; nothing is downloaded.

    Raises LoadError naming `command` where the hub cannot be reached, and what `choose` raises.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HTTPError

    command = command or f"hf download {'--repo-type dataset ' if kind == 'dataset' else ''}{hub_id}"
    try:
        info = HfApi().repo_info(hub_id, repo_type=kind, files_metadata=True)
    except (OSError, ValueError, HTTPError) as error:
        what = "the data set " if kind == "dataset" else ""
        raise _unreachable(what + quote(hub_id), command, error) from error
    sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
    wanted = list(choose(list(sizes)))
    return Download(wanted, sum(sizes[name] for name in wanted) / 1e9, _licence(info))


def download(hub_id: str, choose: Choose, *, kind: RepoKind = "model", command: str = "") -> Path:
    """Download the chosen files of a repository, saying first what will come; returns their folder.

    A hub id is the user's word that the network may be used. Warns (DFPromptWarning) with size, licence and
    folder before the first byte. `command` is the command line that fetches the same by hand: LoadError names
    it where the hub cannot be reached or has no such repository, and what `choose` raises.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HTTPError

    command = command or f"hf download {'--repo-type dataset ' if kind == 'dataset' else ''}{hub_id}"
    found = measure_download(hub_id, choose, kind=kind, command=command)
    said = f"{found.gigabytes:.2f} GB, licence {found.licence}"
    _LOG.info("downloading %s: %s", hub_id, said)
    warnings.warn(
        f"downloading {hub_id}: {said}, into {constants.HF_HUB_CACHE}", DFPromptWarning, stacklevel=3
    )
    try:
        return Path(snapshot_download(hub_id, repo_type=kind, allow_patterns=found.files))
    except (OSError, ValueError, HTTPError) as error:
        what = "the data set " if kind == "dataset" else ""
        raise _unreachable(what + quote(hub_id), command, error) from error


def fetch_file(hub_id: str, name: str, *, what: str = "") -> Path:
    """Return one small file of a model from the cache or the hub.

    Raises LoadError where it is in neither; `what` stands before the id there ("the LoRA").
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    try:
        return Path(hf_hub_download(hub_id, name))
    except (OSError, ValueError, HTTPError) as error:
        raise _unreachable(
            f"{what} {quote(hub_id)}".strip(), f"hf download {hub_id} {name}", error
        ) from error


def _unreachable(what: str, command: str, error: Exception) -> LoadError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return LoadError(
        f"{what} is not on this machine and cannot be downloaded now ({reason}); check the name. Where there "
        f"is a network, run\n  {command}"
    )


def _licence(info: Any) -> str:
    named = (info.card_data or {}).get("license")
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return str(named or next(iter(tags), "not stated on its page"))
