"""Methods that may not touch the words a user wants kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dfprompt.evaluation.methods import Method
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.keeping import find_kept, keep_words

TRAITS = ("free", "whole_set", "at_once", "vendor")
"""What a method may say of itself beside name, definition and pictures."""


@dataclass
class Keeping:
    """Any method, its rewrites mended where they drop, move or weight one of the kept words of a prompt."""

    inner: Method
    keep: tuple[str, ...]

    def __post_init__(self) -> None:
        inner = self.inner
        self.name, self.pictures = inner.name, inner.pictures
        self.definition = f"{inner.definition}, keeping {', '.join(self.keep)}"
        for trait in TRAITS:
            setattr(self, trait, getattr(inner, trait, False))

    def rewrite(self, prompts: Sequence[PlainPrompt], seed: int) -> Sequence[DFPrompt | None]:
        """As the method does; a prompt without any of the words is left to it."""
        return [
            None if made is None else keep_words(prompt.text, made, find_kept(prompt.text, self.keep))
            for prompt, made in zip(prompts, self.inner.rewrite(prompts, seed), strict=True)
        ]
