"""Pipelines from the hub: the local cache first; before a download its size, licence and folder are said."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dfprompt.conditioning.identify import INDEX
from dfprompt.errors import DFPromptWarning, LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.folder import check_folder

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
CONFIGURATIONS = (INDEX, "dfprompt.json", "*/*.json", "*/*.txt", "*/*.model")
_VARIANT_FILE = re.compile(r"(.+)\.(\w+?)((?:-\d{5}-of-\d{5})?\.safetensors(?:\.index)?)$")


class Download(NamedTuple):
    """What would be fetched: the files, their bytes, the licence the model names, where they go."""

    files: tuple[str, ...]
    size: int
    licence: str
    folder: str

    def __str__(self) -> str:
        return f"{self.size / 1e9:.2f} GB, licence {self.licence}, into {self.folder}"


def fetch_pipeline(hub_id: str) -> Path:
    """Return the folder of a hub model, downloading what the cache lacks.

    Warns (DFPromptWarning) with size, licence and folder before a download. Raises LoadError when the
    hub cannot be reached, or holds no safetensors pipeline of a known family.
    """
    cached = find_cached(hub_id)
    if cached is not None:
        return cached
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import httpx

    try:
        wanted = _ask(hub_id)
        warnings.warn(f"downloading {hub_id}: {wanted}", DFPromptWarning, stacklevel=3)
        folder = Path(snapshot_download(hub_id, allow_patterns=list(wanted.files)))
    except (httpx.HTTPError, HFValidationError, OSError) as error:
        raise LoadError(
            f"{quote(hub_id)} is not in the local cache and could not be fetched ({type(error).__name__}); "
            "check the name and the connection, or pass a folder or a .safetensors file"
        ) from error
    check_folder(folder)
    return folder


def find_cached(hub_id: str, patterns: Sequence[str] | None = None) -> Path | None:
    """Return the folder of a model in the local cache, without asking the network; None if not whole.

    With `patterns` only these files matter, and nothing is checked.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(
            snapshot_download(
                hub_id, allow_patterns=list(patterns) if patterns else None, local_files_only=True
            )
        )
        if patterns is None:
            check_folder(folder)
    except (LocalEntryNotFoundError, HFValidationError, LoadError):
        return None
    return folder if (folder / INDEX).is_file() else None


def choose_files(names: Sequence[str]) -> tuple[str, ...]:
    """Return the files of a repository that a pipeline needs: configurations and plain safetensors.

    Pickles, other frameworks' weights and checkpoints at the top are left out; a variant such as fp16
    is taken only where there is nothing else.

    >>> choose_files(["model_index.json", "unet/w.safetensors", "unet/w.fp16.safetensors", "unet/w.bin"])
    ('model_index.json', 'unet/w.safetensors')
    """
    weights = [name for name in names if name.count("/") == 1 and ".safetensors" in name]
    plain = {name for name in weights if not _VARIANT_FILE.match(name)}
    folders = {name.split("/")[0] for name in plain}
    chosen = plain | {name for name in weights if name.split("/")[0] not in folders}
    texts = {name for name in names if any(Path(name).match(pattern) for pattern in CONFIGURATIONS)}
    texts = {name for name in texts if name.count("/") <= 1 and ".safetensors" not in name}
    return tuple(sorted(chosen | texts))


def _ask(hub_id: str) -> Download:
    """Ask the hub what there is to fetch."""
    from huggingface_hub import HfApi
    from huggingface_hub.constants import HF_HUB_CACHE

    info = HfApi().model_info(hub_id, files_metadata=True)
    sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
    files = choose_files(list(sizes))
    if INDEX not in files:
        raise LoadError(f"{quote(hub_id)} is no diffusers pipeline: it has no {INDEX}")
    return Download(files, sum(sizes[name] for name in files), _licence(info), HF_HUB_CACHE)


def _licence(info: Any) -> str:
    named = getattr(info.card_data, "license", None)
    tags = [tag.removeprefix("license:") for tag in info.tags or [] if tag.startswith("license:")]
    return str(named or next(iter(tags), "not stated"))
