"""A pipeline folder in the official layout, checked before diffusers loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from dfprompt.conditioning.capabilities import capabilities_of, find_capabilities
from dfprompt.conditioning.identify import INDEX, read_class
from dfprompt.conditioning.schedule import parameters
from dfprompt.errors import LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.weight_files import check_weights
from dfprompt.storage import read_json

_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
_LIBRARIES = ("diffusers", "transformers")


class FolderParts(NamedTuple):
    """What an index lists: the pipeline class, the parts that are there, those left out, a variant."""

    class_name: str
    parts: tuple[str, ...]
    absent: tuple[str, ...]
    variant: str | None


def check_folder(folder: Path, brought: str | None = None) -> FolderParts:
    """Check that a folder holds a pipeline of a known family with all its parts and whole weights.

    The weights of the part `brought`, if any, come from elsewhere and may be missing.

    Raises LoadError naming the file that is missing, damaged, pickled or asks for code of its own,
    UnsupportedPipelineError for an unknown class.
    """
    index = read_index(folder)
    variants: set[str] = set()
    parts = list_parts(index)
    for name in parts:
        part = folder / name
        if not part.is_dir():
            raise LoadError(f"{part} is missing; {folder / INDEX} asks for it: download or save it again")
        if name != brought and (part / "config.json").is_file():
            found = check_weights(part)
            variants |= set() if "" in found else {found[0]}
        if "Tokenizer" in str(index[name][1]):
            _check_vocabulary(part)
    absent = tuple(name for name, entry in index.items() if isinstance(entry, list) and not entry[0])
    return FolderParts(str(index["_class_name"]), tuple(parts), absent, next(iter(sorted(variants)), None))


def _check_vocabulary(part: Path) -> None:
    """Raise LoadError for a tokenizer without words, which would load and read every text as unknown."""
    if not any(path.name in _VOCABULARIES or path.suffix == ".model" for path in part.iterdir()):
        raise LoadError(
            f"{part} holds no vocabulary ({', '.join(_VOCABULARIES)} or a .model file); "
            "download or save the pipeline again"
        )


def read_index(folder: Path) -> dict[str, Any]:
    """Return a pipeline folder's index; raises LoadError for one that is missing, damaged or strange."""
    _check_class(read_class(folder / INDEX))
    index: dict[str, Any] = read_json(folder / INDEX)
    return index


def _check_class(name: str) -> None:
    """Refuse a class that neither has an adapter nor is one of diffusers' own that takes a prompt."""
    if find_capabilities([name]) is not None:
        return
    import diffusers

    kind = getattr(diffusers, name, None) if name.endswith("Pipeline") else None
    if kind is None or "prompt" not in parameters(kind.__call__):
        capabilities_of([name])


def list_parts(index: dict[str, Any]) -> list[str]:
    """Return the names of the parts an index asks for; raises LoadError for code of its own."""
    from diffusers import pipelines

    names = []
    for name, entry in index.items():
        if name.startswith("_") or not isinstance(entry, list) or len(entry) != 2 or entry[0] is None:
            continue
        library = str(entry[0])
        if library not in _LIBRARIES and not hasattr(pipelines, library):
            raise LoadError(
                f"the part {quote(name)} asks for code of its own ({quote(library)}), "
                "which dfprompt never runs"
            )
        if Path(name).name != name:
            raise LoadError(f"the index names a part {quote(name)}, which is no folder's name")
        names.append(name)
    return names
