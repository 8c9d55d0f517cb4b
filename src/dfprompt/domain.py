"""What a small model was trained on; outside of it its scores and pictures mean nothing."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.errors import DFPromptWarning, LoadError
from dfprompt.excerpt import quote
from dfprompt.storage import read_json, write_text

FILE_NAME = "domain.json"
_WORDS_SHOWN = 5


@dataclass(frozen=True)
class Domain:
    """The world of a model: its name, the words it knows, its pictures' edge in pixels (None: any)."""

    name: str
    words: frozenset[str]
    image_size: int | None = None

    def check(self, height: int, width: int, prompts: Sequence[str]) -> None:
        """Warn (DFPromptWarning) if pictures of this size or these prompts lie outside the world."""
        reasons = [*self._size_reasons(height, width), *self._word_reasons(prompts)]
        if reasons:
            self.warn("; ".join(reasons))

    def warn(self, reason: str) -> None:
        """Warn that a score means nothing here, for this reason."""
        message = f"outside the {self.name} world ({reason}): this {self.name} score means nothing here"
        warnings.warn(message, DFPromptWarning, stacklevel=2)

    def check_words(self, prompts: Sequence[str]) -> None:
        """Warn (DFPromptWarning) of words that no picture here can show, and say which words there are."""
        for reason in self._word_reasons(prompts):
            known = ", ".join(sorted(self.words))
            warnings.warn(
                f"outside the {self.name} world ({reason}): nobody taught it what they look like. "
                f"Its words: {known}. For anything else pass --pipeline with a real model",
                DFPromptWarning,
                stacklevel=2,
            )

    def strangers(self, texts: Sequence[str]) -> list[str]:
        """Return the words of texts that are none of this world's, once each; none where any will do."""
        said = dict.fromkeys(word for text in texts for word in split_words(text))
        return [word for word in said if word not in self.words] if self.words else []

    def _size_reasons(self, height: int, width: int) -> list[str]:
        if self.image_size is None or (height, width) == (self.image_size, self.image_size):
            return []
        return [f"the picture is {width} x {height}, its pictures are {self.image_size} x {self.image_size}"]

    def _word_reasons(self, prompts: Sequence[str]) -> list[str]:
        unknown = self.strangers(prompts)
        if not unknown:
            return []
        shown = ", ".join(map(quote, unknown[:_WORDS_SHOWN])) + (
            ", ..." if len(unknown) > _WORDS_SHOWN else ""
        )
        return [f"unknown words: {shown}"]


def split_words(text: str) -> list[str]:
    """Lower-case words and numbers of a text, without a possessive's s.

    >>> split_words("a Red close-up")
    ['a', 'red', 'close', 'up']
    """
    return re.findall(r"[^\W_]+", re.sub(r"['\u2019]s\b", "", text.lower()))


def find_domain(folder: Path) -> Domain | None:
    """Read `domain.json` of a reward folder or of the folder around it; None where there is none.

    The file holds {"name": "mini", "words": ["a", "red", ...], "image_size": 64}.
    """
    for place in (folder, folder.parent):
        source = place / FILE_NAME
        if source.is_file():
            return _read(source)
    return None


def save_domain(domain: Domain, folder: Path) -> None:
    """Write `domain.json` into a reward folder, or into the folder around several."""
    content = {"name": domain.name, "words": sorted(domain.words), "image_size": domain.image_size}
    write_text(folder / FILE_NAME, json.dumps(content) + "\n")


def _read(source: Path) -> Domain:
    try:
        content = read_json(source)
        words = frozenset(word for entry in content.get("words", ()) for word in split_words(entry))
        name, size = content["name"], content.get("image_size")
        if not isinstance(name, str) or not (size is None or type(size) is int):
            raise TypeError("a name is text, a size pixels")
        return Domain(name, words, size)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        expected = '{"name": ..., "words": [...], "image_size": ...}'
        raise LoadError(f"{source}: expected {expected}: {error}") from error
