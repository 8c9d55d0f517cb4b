"""How much text fits: tokens counted with the tokenizers of the pipeline that will read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dfprompt.errors import ConfigError

# A CLIP text encoder reads 77 tokens, two of them its own marks.
CLIP_TOKENS = 75


@dataclass(frozen=True)
class TokenBudget:
    """At most `limit` tokens of text, by the count of whichever tokenizer counts most.

    The tokenizers' own marks (start, end) do not count.

    >>> TokenBudget(limit=3).fits("one two three"), TokenBudget(limit=2).fits("one two three")
    (True, False)
    """

    limit: int = CLIP_TOKENS
    tokenizers: Sequence[Any] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if isinstance(self.limit, bool) or not isinstance(self.limit, int) or self.limit < 1:
            raise ConfigError(f"a token budget must be a whole number of at least 1, not {self.limit!r}")

    def count(self, text: str) -> int:
        """Tokens of a text; words at spaces where no tokenizer is given."""
        if not self.tokenizers:
            return len(text.split())
        said = text.encode("utf-8", "replace").decode()
        return max(
            len(tokenizer(said, add_special_tokens=False, verbose=False)["input_ids"])
            for tokenizer in self.tokenizers
        )

    def fits(self, text: str) -> bool:
        """Say whether a text stays within the budget."""
        return self.count(text) <= self.limit
