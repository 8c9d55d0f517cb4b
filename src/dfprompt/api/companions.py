"""What a pipeline brings along, by its name or from the pipeline itself; nothing heavy is loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfprompt.api.world import mini_folder
from dfprompt.pipeline.companions import NOTHING, Companions, find_companions
from dfprompt.requests.base import split_commas
from dfprompt.search.lexicon import Lexicon, built_in_lexicon, make_lexicon, read_lexicon
from dfprompt.sources import peek_cached

if TYPE_CHECKING:
    from dfprompt.requests.compare import CompareRequest

MINI = "mini"
HOW_TO_GET_A_POLICY = (
    "no policy rewrites prompts for this pipeline: train one (dfprompt train), name one with --policy, write "
    "the DF-Prompt yourself with --with, or search one for this prompt with dfprompt tune"
)


def companions_of(pipeline: Any) -> Companions:
    """Return what goes with a pipeline, loaded or by name; raises LoadError for a damaged file of companions.

    >>> companions_of("mini").policy, companions_of("models/nowhere").policy
    ('mini', None)
    """
    origin = getattr(pipeline, "origin", None)
    if origin is not None:
        found: Companions = origin.companions
        return found
    if not isinstance(pipeline, str | Path):
        return NOTHING
    folder = mini_folder("pipeline") if str(pipeline) == MINI else Path(pipeline)
    found_at = folder if folder.is_dir() else peek_cached(str(pipeline))
    return NOTHING if found_at is None else find_companions(found_at)


def writer_of(request: CompareRequest, companions: Companions) -> Any:
    """Return what rewrites the words of a comparison: what it names, or the pipeline's own but for `vary`."""
    if request.writer is not None:
        return request.writer
    return None if request.vary else companions.policy


def usual_lexicon(companions: Companions) -> Lexicon:
    """Return the words of a pipeline's own world, or the built-in list."""
    if companions.modifiers:
        return make_lexicon(companions.modifiers, companions.name)
    return built_in_lexicon()


def choose_lexicon(given: Any, companions: Companions) -> Lexicon:
    """Return the modifiers a user named, else those of the pipeline or the built-in list.

    Each of `given` is a file, or words. Raises ConfigError for a file that cannot be read, naming its lines.

    >>> [entry.text for entry in choose_lexicon(["mist", "film grain"], NOTHING).entries]
    ['mist', 'film grain']
    """
    listed = [given] if isinstance(given, str | Path) else list(given or ())
    if not listed:
        return usual_lexicon(companions)
    parts = [_read(each) for each in listed]
    if len(parts) == 1:
        return parts[0]
    entries = {entry.text.casefold(): entry for part in reversed(parts) for entry in reversed(part.entries)}
    return Lexicon(tuple(reversed(entries.values())), "own")


def _read(given: str | Path) -> Lexicon:
    path = Path(given)
    if isinstance(given, Path) or path.suffix in (".txt", ".toml") or path.is_file():
        return read_lexicon(path)
    return make_lexicon(split_commas([given]), "own")
