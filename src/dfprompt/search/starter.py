"""The starter policy: rules over the lexicon and a seed. Nothing in it was learned, and it says so.

It is the honest default for pipelines no policy was trained for, and a baseline for those that were.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from dfprompt.errors import ConfigError
from dfprompt.policy.budget import TokenBudget
from dfprompt.policy.policy import Policy
from dfprompt.policy.rewrite import Rewrite, append_modifiers
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.tables import RANGES, WEIGHTS, make_tables
from dfprompt.prompt import DFPrompt, Span
from dfprompt.search.lexicon import Lexicon, built_in_lexicon
from dfprompt.search.styles import Style

if TYPE_CHECKING:
    from dfprompt.policy.trajectory import Trajectory

NAME = "starter"
LABEL = "starter (rules, not learned)"
# One of each, in this order; a prompt that names one of a category's words keeps to its own.
_ORDER = ("composition", "light", "texture", "detail", "colour", "mood")
_USUAL = 3


class StarterPolicy(Policy):
    """Appends one modifier each of a few categories, with the lexicon's own ranges and weights.

    With a `style` it appends that style's words instead.

    A `Policy` by its calls, without a model: log-probabilities are 0 throughout, and of the settings the
    bans, the number of modifiers and the token budget hold. `name` says that nothing was learned.

    >>> (rewrite,), = StarterPolicy().candidates(["a cat"], 1, seed=0)
    >>> str(rewrite.prompt).startswith("a cat, ")
    True
    """

    def __init__(self, lexicon: Lexicon | None = None, *, style: Style | None = None) -> None:
        self.lexicon, self.style = lexicon or built_in_lexicon(), style
        self.name = LABEL if style is None else f"{LABEL}, style {style.name}"
        self.digest, self.domain, self.budget = "", None, TokenBudget()
        self.restraint = None
        # Callers ask a policy's model for its tables of controls alone.
        self.model: Any = SimpleNamespace(config=SimpleNamespace(tables=make_tables(RANGES, WEIGHTS)))
        self.tokenizer = None

    def sample(self, *_: Any, **__: Any) -> Trajectory:
        """Raise ConfigError: there are no draws to train on."""
        raise ConfigError(f"{LABEL} draws no tokens, so nothing can be trained from it; load a model instead")

    def rewrite(
        self,
        prompts: Sequence[str | DFPrompt],
        seeds: Sequence[int],
        settings: SamplingSettings | None = None,
        *,
        acting: Sequence[bool] | None = None,
        batch_size: int = 32,
    ) -> list[Rewrite]:
        """Rewrite each prompt once, from its seed alone."""
        bases = [DFPrompt.from_plain(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        chosen = settings or SamplingSettings()
        if chosen.restraint:
            raise ConfigError(f"{LABEL} learned nothing, so there is no gain to restrain; take a policy")
        return [self._rewrite(base, seed, chosen) for base, seed in zip(bases, seeds, strict=True)]

    def _rewrite(self, base: DFPrompt, seed: int, settings: SamplingSettings) -> Rewrite:
        usual = max(_USUAL, settings.min_modifiers)
        most = usual if settings.max_modifiers is None else settings.max_modifiers
        budget = settings.budget or self.budget
        kept: list[Span] = []
        # The prompt has a say in the lot, so that not every prompt gets the same words.
        lots = random.Random(f"{seed} {base.plain_text.casefold()}")
        choose = self._choose if self.style is None else self._choose_style
        for span in choose(base.plain_text, lots, settings)[:most]:
            if budget.fits(append_modifiers(base, [*kept, span]).plain_text):
                kept.append(span)
        prompt = append_modifiers(base, kept)
        return Rewrite(base.plain_text, prompt, tuple(kept), logprob=0.0, actions=0, seed=seed)

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
