"""A policy ready for use: model, tokenizer, grammar and token budget together."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dfprompt.domain import Domain
from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.excerpt import quote
from dfprompt.policy.budget import TokenBudget
from dfprompt.policy.kinds import KindHunt
from dfprompt.policy.restraint import Restraint
from dfprompt.policy.rewrite import Rewrite, rewrites_of
from dfprompt.policy.settings import SamplingSettings
from dfprompt.policy.tastes import Mix, strengths_of
from dfprompt.prompt import DFPrompt
from dfprompt.statistics.risk import RiskCurve

if TYPE_CHECKING:  # a policy of rules needs no torch
    from dfprompt.policy.modeling import PolicyModel
    from dfprompt.policy.trajectory import Trajectory
    from dfprompt.policy.vocabulary import Vocabulary


class Policy:
    """A model with its tokenizer: draws modifiers for prompts.

    `budget` counts tokens with the tokenizers of the pipeline the policy writes for (the policy's own
    where none is given); `name` and `digest` say in recipes which policy it was; `domain` is the world it
    knows, if it is a small one; `restraint` and `risk` are its measured curves, where there are such.
    `max_modifiers` is the limit it was trained under: it has learnt no ending beyond it, so it holds in use.
    """

    def __init__(
        self,
        model: PolicyModel,
        tokenizer: Any,
        *,
        budget: TokenBudget | None = None,
        name: str = "policy",
        digest: str = "",
        domain: Domain | None = None,
        restraint: Restraint | None = None,
        risk: RiskCurve | None = None,
        max_modifiers: int | None = None,
    ) -> None:
        self.model, self.tokenizer, self.name, self.digest = model, tokenizer, name, digest
        self.domain, self.restraint, self.risk = domain, restraint, risk
        self.max_modifiers = max_modifiers
        self.budget = budget or TokenBudget(tokenizers=(tokenizer,))
        self.vocabulary = make_vocabulary(model, tokenizer)

    def sample(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        settings: SamplingSettings,
        *,
        acting: Sequence[bool] | None = None,
        tastes: Sequence[Mix] | None = None,
    ) -> Trajectory:
        """Draw one row per prompt; the policy's own budget holds where the settings name none.

        `tastes` gives each row a taste of its own, in place of the settings'. Raises ConfigError for a
        restraint where the policy has no curve of it, and for a taste it has not learnt.
        """
        from dfprompt.policy.sampling import sample_trajectory

        known = self.model.config.tastes
        mixes = [settings.taste] * len(prompts) if tastes is None else tastes
        strengths = [strengths_of(mix, known, self.name) for mix in mixes]
        return sample_trajectory(
            self.model,
            self.vocabulary,
            prompts,
            seeds,
            self._settled(settings),
            acting=acting,
            tastes=strengths,
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
        """Rewrite each prompt once: plain text, or a DF-Prompt whose spans are kept."""
        bases = [DFPrompt.from_plain(prompt) if isinstance(prompt, str) else prompt for prompt in prompts]
        plains = [base.plain_text for base in bases]
        settings = settings or SamplingSettings()
        made: list[Rewrite] = []
        for start in range(0, len(bases), batch_size):
            rows = slice(start, start + batch_size)
            trajectory = self.sample(plains[rows], seeds[rows], settings, acting=acting)
            tables = self.model.config.tables
            made += rewrites_of(trajectory, bases[rows], plains[rows], seeds[rows], tables)
        return [dataclasses.replace(each, restrained=True) for each in made] if settings.restraint else made

    def candidates(
        self,
        prompts: Sequence[str | DFPrompt],
        count: int,
        seed: int,
        settings: SamplingSettings | None = None,
        *,
        acting: Sequence[bool] | None = None,
        batch_size: int = 32,
    ) -> list[list[Rewrite]]:
        """Up to `count` rewrites of each prompt that differ in kind, the likeliest (mean log-probability)
        first.

        Those of one kind share half of their modifiers (`same_kind`). Where a policy says one thing again and
        again, it is drawn more freely and without half, then without any, of the words it has said; where it
        has fewer kinds to offer even so, other texts follow. Candidate c of a prompt is drawn from (seed, c)
        and from the kinds before it: more candidates, or more prompts, change no kind that was found before.
        Warns where the policy has fewer different texts.
        """
        check_count(count, "candidates")
        chosen = settings or SamplingSettings()
        hunts = [KindHunt(count, chosen) for _ in prompts]
        while jobs := [(index, hunt.settings()) for index, hunt in enumerate(hunts) if hunt.missing]:
            how = jobs[0][1]  # a few draws of every prompt that is drawn alike
            rows = [
                (index, hunts[index].drawn + more)
                for index, each in jobs
                if each == how
                for more in range(hunts[index].alike)
            ]
            rewrites = self.rewrite(
                [prompts[index] for index, _ in rows],
                [candidate_seed(seed, number) for _, number in rows],
                how,
                acting=acting,
                batch_size=batch_size,
            )
            for (index, number), rewrite in zip(rows, rewrites, strict=True):
                hunt = hunts[index]
                if hunt.missing and hunt.drawn == number and hunt.settings() == how:
                    hunt.take(rewrite)
        found = [hunt.found() for hunt in hunts]
        for prompt, have in zip(prompts, found, strict=True):
            if len(have) < count:
                message = (
                    f"the policy drew {len(have)} different rewrites of {quote(str(prompt))}, not {count}; "
                    "raise the temperature for more"
                )
                warnings.warn(message, DFPromptWarning, stacklevel=2)
        return [sorted(have, key=lambda each: -each.score) for have in found]

    def _settled(self, settings: SamplingSettings) -> SamplingSettings:
        """The settings with this policy's budget and limit, and with its end bias for their restraint."""
        bias = settings.end_bias
        if settings.restraint:
            if self.restraint is None:
                raise ConfigError(
                    f"the policy {self.name} has no restraint curve; measure one with `dfprompt restrain`"
                )
            bias += self.restraint.bias(settings.restraint)
        limits = [each for each in (settings.max_modifiers, self.max_modifiers) if each is not None]
        return dataclasses.replace(
            settings,
            budget=settings.budget or self.budget,
            end_bias=bias,
            restraint=0.0,
            max_modifiers=max(min(limits), settings.min_modifiers) if limits else None,
        )


def make_vocabulary(model: PolicyModel, tokenizer: Any) -> Vocabulary:
    """The grammar of a model's tokens, as wide as its logits."""
    from dfprompt.policy.vocabulary import Vocabulary

    return Vocabulary(
        tokenizer,
        int(model.trunk.get_output_embeddings().weight.shape[0]),
        separators=tuple(model.config.separators),
        forbidden=model.config.forbidden,
    )


def candidate_seed(seed: int, candidate: int) -> int:
    """The seed of one candidate; the first one's is the seed itself."""
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"a seed must be a whole number of at least 0, not {quote(seed)}")
    if not candidate:
        return seed
    import numpy as np

    return int(np.random.SeedSequence([seed, candidate]).generate_state(1, np.uint64)[0])


def check_count(count: int, name: str) -> None:
    """Raise ConfigError unless `count` is a whole number of at least 1."""
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise ConfigError(f"{name} must be a whole number of at least 1, not {quote(count)}")
