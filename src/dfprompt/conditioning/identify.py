"""Which family a pipeline on disk or on the hub belongs to, read from its index without its weights."""

from __future__ import annotations

from pathlib import Path

from dfprompt.conditioning.capabilities import FAMILIES, MINI, Capabilities, capabilities_of
from dfprompt.errors import LoadError
from dfprompt.excerpt import quote
from dfprompt.sources import fetch_file, hub_id_of
from dfprompt.storage import read_json

INDEX = "model_index.json"


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
    if folder.is_dir():
        return capabilities_of([read_class(folder / INDEX)])
    hub_id = hub_id_of(source)
    if hub_id is None:
        known = ", ".join(named)
        raise LoadError(
            f"{quote(source)} is neither a folder nor a hub id (hub:owner/name) nor one of {known}"
        )
    return capabilities_of([read_class(fetch_file(hub_id, INDEX, what="the index of"))])


def read_class(path: Path) -> str:
    """Return the class an index names; raises LoadError for a file that is missing, damaged or strange."""
    try:
        index = read_json(path)
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
