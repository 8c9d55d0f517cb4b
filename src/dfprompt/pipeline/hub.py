"""Pipelines from the hub: the local cache first; before a download its size, licence and folder are said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from dfprompt.conditioning.identify import INDEX
from dfprompt.domain import FILE_NAME as DOMAIN
from dfprompt.errors import LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.companions import FILE_NAME as COMPANIONS
from dfprompt.pipeline.folder import check_folder
from dfprompt.sources import download, find_cached

CONFIGURATIONS = (INDEX, "dfprompt.json", COMPANIONS, DOMAIN, "*/*.json", "*/*.txt", "*/*.model")
_PROMPTS = ("*.txt", "*.jsonl")  # at the top, where companions name prompts
_VARIANT_FILE = re.compile(r"(.+)\.(\w+?)((?:-\d{5}-of-\d{5})?\.safetensors(?:\.index)?)$")


def fetch_pipeline(hub_id: str) -> Path:
    """Return the folder of a hub model, downloading what the cache lacks.

    Warns (DFPromptWarning) with size, licence and folder before a download. Raises LoadError when the
    hub cannot be reached, or holds no safetensors pipeline of a known family.
    """
    cached = _whole(find_cached(hub_id))
    if cached is not None:
        return cached

    def choose(names: Sequence[str]) -> Sequence[str]:
        files = choose_files(names)
        if INDEX not in files:
            raise LoadError(f"{quote(hub_id)} is no diffusers pipeline: it has no {INDEX}")
        return files

    folder = download(hub_id, choose)
    check_folder(folder)
    return folder


def _whole(folder: Path | None) -> Path | None:
    """A cached snapshot that nothing is missing from."""
    try:
        if folder is not None and (folder / INDEX).is_file():
            check_folder(folder)
            return folder
    except LoadError:
        return None
    return None


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
    patterns = CONFIGURATIONS + (_PROMPTS if COMPANIONS in names else ())
    texts = {name for name in names if any(Path(name).match(pattern) for pattern in patterns)}
    texts = {name for name in texts if name.count("/") <= 1 and ".safetensors" not in name}
    return tuple(sorted(chosen | texts))
