"""Policies by rule: what `Policy` promises without a language model, for words chosen in another way."""

from __future__ import annotations

from abc import abstractmethod
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

if TYPE_CHECKING:
    from dfprompt.policy.trajectory import Trajectory


class RulePolicy(Policy):
    """A `Policy` by its calls, without a model: log-probabilities are 0 throughout.

    Of the settings the bans, the number of modifiers (else `usual`) and the token budget hold.
    What is appended is said by `choose`.
    """

    def __init__(self, name: str, *, digest: str = "", usual: int) -> None:
        self.name, self.digest, self.domain, self.budget = name, digest, None, TokenBudget()
        self.restraint, self.risk, self.max_modifiers, self.usual = None, None, None, usual
        # Callers ask a policy's model for its tables of controls alone.
        self.model: Any = SimpleNamespace(config=SimpleNamespace(tables=make_tables(RANGES, WEIGHTS)))
        self.tokenizer = None

    @abstractmethod
    def choose(
        self, text: str, seed: int, settings: SamplingSettings, acting: Sequence[bool] | None
    ) -> Sequence[Span]:
        """Return the modifiers for a prompt's words, the most wanted first."""

    def sample(self, *_: Any, **__: Any) -> Trajectory:
        """Raise ConfigError: there are no draws to train on."""
        raise ConfigError(
            f"{self.name} draws no tokens, so nothing can be trained from it; load a model instead"
        )

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
            raise ConfigError(f"{self.name} has no restraint curve: it draws no ending that could be biased")
        return [self._rewrite(base, seed, chosen, acting) for base, seed in zip(bases, seeds, strict=True)]

    def _rewrite(
        self, base: DFPrompt, seed: int, settings: SamplingSettings, acting: Sequence[bool] | None
    ) -> Rewrite:
        usual = max(self.usual, settings.min_modifiers)
        most = usual if settings.max_modifiers is None else settings.max_modifiers
        budget = settings.budget or self.budget
        kept: list[Span] = []
        for span in self.choose(base.plain_text, seed, settings, acting)[:most]:
            if budget.fits(append_modifiers(base, [*kept, span]).plain_text):
                kept.append(span)
        prompt = append_modifiers(base, kept)
        return Rewrite(base.plain_text, prompt, tuple(kept), logprob=0.0, actions=0, seed=seed)
