"""A prompt as people wrote it, with whatever came along: its picture, its short form, other fields."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dfprompt.policy.bans import normalize

# Fields with a meaning; a row's other fields stay beside the prompt for judges.
FIELDS = ("prompt", "short", "modifiers", "image", "plain_image", "seed")


@dataclass(frozen=True)
class PromptRecord:
    """One row of a source.

    `image` is the picture of the whole prompt and `plain_image` that of its short form, as files,
    where the source has them; without, both are drawn. `where` names the row in messages.
    """

    prompt: str
    where: str
    short: str | None = None
    modifiers: tuple[str, ...] | None = None
    image: str | None = None
    plain_image: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """A short prompt and the modifiers a person appended to it: one candidate for training."""

    short: str
    modifiers: tuple[str, ...]
    record: PromptRecord

    @property
    def prompt(self) -> str:
        """Short form and modifiers as one text."""
        return ", ".join([self.short, *self.modifiers])

    @property
    def key(self) -> str:
        """The same for texts that differ in casing, width and spaces only: 16 hexadecimal digits."""
        return text_key(self.prompt)

    @property
    def measured_as(self) -> str:
        """What a measurement holds for: the same words split elsewhere have another plain picture.

        A row's own pictures are part of it. 16 hexadecimal digits.
        """
        texts = [normalize(self.short), normalize(self.prompt)]
        return _digest(json.dumps([*texts, self.record.image, self.record.plain_image]))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def text_key(text: str) -> str:
    """A digest of a text, normalized: 16 hexadecimal digits.

    >>> text_key("A  Cat") == text_key("a cat")
    True
    """
    return _digest(normalize(text))
