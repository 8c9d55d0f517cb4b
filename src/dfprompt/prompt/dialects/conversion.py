"""What every conversion returns, and the remarks it collects on the way."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.jsonform import VERSION


@dataclass
class Remarks:
    """What a conversion assumed and could not express: sentences, each kept once, in order."""

    assumed: dict[str, None] = field(default_factory=dict)
    lost: dict[str, None] = field(default_factory=dict)

    def assume(self, sentence: str) -> None:
        """Note how something was read that could be meant otherwise."""
        self.assumed.setdefault(sentence)

    def lose(self, sentence: str) -> None:
        """Note something the result does not say."""
        self.lost.setdefault(sentence)


@dataclass(frozen=True)
class Imported:
    """A DF-Prompt read from another tool's text."""

    prompt: DFPrompt
    assumed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Exported:
    """Another tool's text for a DF-Prompt."""

    text: str
    assumed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """A text in its new dialect, the DF-Prompt between, what was assumed and what was lost."""

    text: str
    prompt: DFPrompt
    assumed: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the conversion as a JSON object: text, spans, assumed, lost."""
        spans = self.prompt.to_json()["spans"]
        return {
            "dfprompt": VERSION,
            "text": self.text,
            "spans": spans,
            "assumed": list(self.assumed),
            "lost": list(self.lost),
        }
