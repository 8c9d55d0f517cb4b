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
from dfprompt.search.styles import Style

NAME = "starter"
LABEL = "starter (rules, not learned)"
# One of each, in this order; a prompt that names one of a category's words keeps to its own.
_ORDER = ("composition", "light", "texture", "detail", "colour", "mood")
_USUAL = 3


class StarterPolicy(RulePolicy):
    """Appends one modifier each of a few categories, with the lexicon's own ranges and weights.

    With a `style` it appends that style's words instead.

    A `Policy` by its calls, without a model: log-probabilities are 0 throughout, and of the settings the
    bans, the number of modifiers and the token budget hold. `name` says that nothing was learned.

    >>> (rewrite,), = StarterPolicy().candidates(["a cat"], 1, seed=0)
    >>> str(rewrite.prompt).startswith("a cat, ")
    True
    """

    def __init__(self, lexicon: Lexicon | None = None, *, style: Style | None = None) -> None:
        super().__init__(LABEL if style is None else f"{LABEL}, style {style.name}", usual=_USUAL)
        self.lexicon, self.style = lexicon or built_in_lexicon(), style

    def choose(
        self, text: str, seed: int, settings: SamplingSettings, acting: Sequence[bool] | None
    ) -> Sequence[Span]:
        """Return the words of the style, or of the lexicon; the prompt has a say in the lot, so that not
        every prompt gets the same ones."""
        lots = random.Random(f"{seed} {text.casefold()}".encode("utf-8", "surrogatepass"))
        choose = self._choose if self.style is None else self._choose_style
        return choose(text, lots, settings)

    def _choose_style(self, text: str, rng: random.Random, settings: SamplingSettings) -> tuple[Span, ...]:
        """Return the style's first words, which make it, then the others in an order drawn by lot."""
        said = text.casefold()
        spans = self.style.spans if self.style else ()
        left = [span for span in spans if span.text.casefold() not in said]
        ordered = [*left[:1], *rng.sample(left[1:], max(0, len(left) - 1))]
        return tuple(span for span in ordered if not settings.bans.find_all([span.text]))

    def _choose(self, text: str, rng: random.Random, settings: SamplingSettings) -> tuple[Span, ...]:
        """Return one allowed modifier of each category the prompt says nothing of, in the usual order."""
        said = text.casefold()
        spans: list[Span] = []
        groups = self.lexicon.categories()
        for category in (*_ORDER, *(each for each in groups if each not in _ORDER)):
            entries = groups.get(category, [])
            if not entries or any(entry.text.casefold() in said for entry in entries):
                continue
            allowed = [entry for entry in entries if not settings.bans.find_all([entry.text])]
            if allowed:
                spans.append(rng.choice(allowed).span)
        return tuple(spans)
