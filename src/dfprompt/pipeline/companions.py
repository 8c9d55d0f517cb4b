"""What belongs to a pipeline's weights besides them: scores, judges, policy, words, prompts, as data.

A file `companions.json` in the pipeline's folder, or in the folder around it, names them, so that anybody's
model can bring its own. Commands use them where the user names nothing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field

from dfprompt.config import Config, make_config
from dfprompt.errors import ConfigError, LoadError
from dfprompt.storage import read_json, write_text

FILE_NAME = "companions.json"
ConfigT = TypeVar("ConfigT", bound=Config)


class Companions(Config):
    """What goes with a pipeline: names that rewards and policies have, or paths from the file's folder.

    >>> Companions(policy="policy").rewards
    ()
    """

    name: str = Field(default="", max_length=200)
    """What the collection is called."""
    note: str = ""
    """A remark that stands on every report of numbers."""
    rewards: tuple[str, ...] = ()
    """What pictures are scored with."""
    judges: tuple[str, ...] = ()
    """Scores that nothing was optimised for."""
    policy: str | None = None
    """The policy that writes DF-Prompts for this pipeline."""
    sft: str | None = None
    """The same policy after stage 1, before any reward."""
    modifiers: tuple[str, ...] = ()
    """The words that can be appended: what is searched, drawn at random and offered."""
    examples: tuple[str, ...] = ()
    """A few of them, of every kind, for ablations."""
    suffix: str | None = None
    """The fixed suffix that people usually append."""
    prompts: str | None = None
    """Plain prompts to validate on; a file."""
    embedder: str | None = None
    """The CLIP model that distances between sets of pictures are measured with."""


NOTHING = Companions()
_PLACES = ("policy", "sft", "prompts", "embedder")


def find_companions(folder: Path) -> Companions:
    """Return what a pipeline's folder, or the folder around it, brings along; paths become whole.

    Raises LoadError for a damaged file, and for a path that leads out of the file's folder.
    """
    for place in (folder, folder.parent):
        if (place / FILE_NAME).is_file():
            return _read(place / FILE_NAME)
    return NOTHING


def save_companions(companions: Companions, folder: Path) -> Path:
    """Write the file into a folder; returns it."""
    path = folder / FILE_NAME
    content = companions.model_dump(mode="json", exclude_defaults=True)
    write_text(path, json.dumps(content, indent=1) + "\n")
    return path


def read_beside(kind: type[ConfigT], path: Path) -> ConfigT:
    """Return a file of values that lies beside weights; raises LoadError for a damaged one."""
    try:
        values = read_json(path)
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"{path} cannot be read as JSON ({error}); mend or remove it") from error
    if not isinstance(values, dict):
        raise LoadError(f"{path} holds no JSON object; mend or remove it")
    try:
        return make_config(kind, values, origin=str(path))
    except ConfigError as error:
        raise LoadError(str(error)) from error


def _read(path: Path) -> Companions:
    found = read_beside(Companions, path)
    located: dict[str, Any] = {
        name: _locate(getattr(found, name), path) for name in _PLACES if getattr(found, name)
    }
    for name in ("rewards", "judges"):
        located[name] = tuple(_locate(each, path) for each in getattr(found, name))
    return found.model_copy(update=located)


def _locate(source: str, file: Path) -> str:
    """Return a name as it is, and a path as it is from here; `KIND:PATH` keeps its kind."""
    kind, colon, place = source.partition(":")
    path = Path(place if colon else source)
    if path.is_absolute() or ".." in path.parts:
        raise LoadError(f"{file}: {source} leads out of its folder; name what lies beside the pipeline")
    if not (file.parent / path).exists():
        return source
    return f"{kind}{colon}{file.parent / path}" if colon else str(file.parent / path)
