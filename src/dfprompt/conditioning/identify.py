"""Which family a pipeline on disk or on the hub belongs to, read from its index without its weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

from dfprompt.conditioning.capabilities import FAMILIES, MINI, Capabilities, capabilities_of
from dfprompt.errors import LoadError
from dfprompt.excerpt import quote

INDEX = "model_index.json"
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def identify_pipeline(source: str) -> Capabilities:
    """Return the family of a pipeline: `mini`, a family's name, a pipeline class, a folder or a hub id.

    Only a hub id touches the network, for the few kilobytes of the index. Raises LoadError for a
    source without a readable index, UnsupportedPipelineError for a class of no known family.

    >>> identify_pipeline("sdxl").title
    'Stable Diffusion XL'
    """
    named = {"mini": MINI, **{family.family: family for family in FAMILIES}}
    if source in named:
        return named[source]
    if source.endswith("Pipeline"):
        return capabilities_of([source])
    if Path(source).suffix in (".safetensors", ".ckpt"):
        known = ", ".join(named)
        raise LoadError(f"{source} is a single file without an index; name its family instead: {known}")
    folder = Path(source)
    if not folder.is_dir() and not _HUB_ID.fullmatch(source):
        known = ", ".join(named)
        raise LoadError(f"{quote(source)} is neither a folder nor a hub id (owner/name) nor one of {known}")
    return capabilities_of([read_class(folder / INDEX if folder.is_dir() else _fetch_index(source))])


def read_class(path: Path) -> str:
    """Return the class an index names; raises LoadError for a file that is missing, damaged or strange."""
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LoadError(f"{path} does not exist; pass the folder a pipeline was saved to") from error
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(
            f"{path} cannot be read as JSON ({error}); save or download the pipeline again"
        ) from error
    name = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(name, str):
        raise LoadError(f"{path} names no _class_name; save or download the pipeline again")
    return name


def _fetch_index(source: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(source, INDEX))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise LoadError(
            f"the index of {quote(source)} could not be fetched from the hub ({type(error).__name__}); "
            "check the name and the connection, or pass a folder"
        ) from error
