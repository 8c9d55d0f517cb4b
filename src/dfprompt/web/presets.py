"""Named groups of spans: styles that the studio brings, and a user's own in a file beside the history."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt import storage
from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.parser import read_back
from dfprompt.search.lexicon import Lexicon

FILE = "styles.json"
MOST = 200
_ADVICE = "make room; the styles that were there are kept"

# Our own, of the built-in lexicon's words; those a world's lexicon does not hold are not offered there.
BUILT_IN = {
    "Painted late": "[watercolor:late], [soft glow:late:0.75]",
    "Oil on canvas": "[oil painting:late], [rough canvas:0.3->0:1.25]",
    "Quiet photograph": "[35mm photograph:full], [soft window light:late], [film grain:0.3->0:0.75]",
    "Cinema": "[wide shot:early], [low-key lighting:late], [film grain:late:0.75]",
    "Golden evening": "[golden hour:late], [bokeh:late]",
    "Ink and paper": "[ink wash:late], [coarse paper:late:1.25]",
    "Flat and graphic": "[flat colors:late], [simplified shapes:early]",
    "Close and sharp": "[close-up:early], [detailed texture:late]",
}


def list_presets(folder: Path, lexicon: Lexicon) -> list[dict[str, Any]]:
    """Return the styles that fit a lexicon, the user's own first, each with name and text."""
    own = [{"name": name, "text": text, "own": True} for name, text in _read(folder).items()]
    fitting = {name: text for name, text in BUILT_IN.items() if _fits(text, lexicon)}
    return [*own, *({"name": name, "text": text, "own": False} for name, text in fitting.items())]


def save_preset(folder: Path, values: Mapping[str, Any]) -> None:
    """Keep the spans of a text under a name, or forget the name where the text is null.

    Raises InputError for no name, a text without spans, or a folder that refuses.
    """
    name, text = values.get("name"), values.get("text")
    if not isinstance(name, str) or not 0 < len(name.strip()) <= 60:
        raise InputError(f"a style needs a name of at most 60 characters, not {quote(name)}")
    kept = _read(folder)
    kept.pop(name.strip(), None)
    if text is not None:
        spans = read_back(str(text)).controls
        if not spans:
            raise InputError("a style is made of spans: write some, such as [film grain:late]")
        kept = {name.strip(): ", ".join(map(str, spans)), **kept}
    if len(kept) > MOST:
        raise InputError(f"{MOST} styles are kept at most; forget one first")
    with storage.reported(folder / FILE, InputError, _ADVICE):
        storage.write_text(folder / FILE, json.dumps(kept, indent=1) + "\n")


def _read(folder: Path) -> dict[str, str]:
    path = folder / FILE
    try:
        kept = storage.read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}; mend or remove it") from error
    if not isinstance(kept, dict) or not all(isinstance(text, str) for text in kept.values()):
        raise InputError(f"{path} holds no styles; mend or remove it")
    return kept


def _fits(text: str, lexicon: Lexicon) -> bool:
    return all(lexicon.find(span.text) is not None for span in read_back(text).controls)
