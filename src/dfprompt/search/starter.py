"""The starter policy: rules over the lexicon and a seed. Nothing in it was learned, and it says so.

It is the honest default for pipelines no policy was trained for, and a baseline for those that were.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from dfprompt.policy.rules import RulePolicy
from dfprompt.policy.settings import SamplingSettings
from dfprompt.prompt import Span
from dfprompt.search.lexicon import Lexicon, built_in_lexicon

NAME = "starter"
LABEL = "starter (rules, not learned)"
# One of each, in this order; a prompt that names one of a category's words keeps to its own.
_ORDER = ("composition", "light", "texture", "detail", "colour", "mood")
_USUAL = 3


class StarterPolicy(RulePolicy):
    """Appends one modifier each of a few categories, with the lexicon's own ranges and weights.

    A `Policy` by its calls, without a model: log-probabilities are 0 throughout, and of the settings the
    bans, the number of modifiers and the token budget hold. `name` says that nothing was learned.

    >>> (rewrite,), = StarterPolicy().candidates(["a cat"], 1, seed=0)
    >>> str(rewrite.prompt).startswith("a cat, ")
    True
    """

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        super().__init__(LABEL, usual=_USUAL)
        self.lexicon = lexicon or built_in_lexicon()

    def choose(
        self, text: str, seed: int, settings: SamplingSettings, acting: Sequence[bool] | None
    ) -> Sequence[Span]:
        """Return one allowed modifier of each category the prompt says nothing of, in the usual order."""
        said, rng = text.casefold(), random.Random(seed)
        spans: list[Span] = []
        groups = self.lexicon.categories()
        for category in (*_ORDER, *(each for each in groups if each not in _ORDER)):
            entries = groups.get(category, [])
            if not entries or any(entry.text.casefold() in said for entry in entries):
                continue
            allowed = [entry for entry in entries if not settings.bans.find_all([entry.text])]
            if allowed:
                spans.append(rng.choice(allowed).span)
        return spans
