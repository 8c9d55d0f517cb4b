"""How a policy draws: temperature and truncation, lengths, bans."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.policy.bans import Bans
from dfprompt.policy.budget import TokenBudget
from dfprompt.policy.tastes import STRONGEST, Mix

REDRAWS = 4


@dataclass(frozen=True)
class SamplingSettings:
    """How rows are drawn; the defaults are those for use, `for_rollouts` those for training.

    The published code draws with temperature 0.9 and no top_p; of what a small policy writes that way, more
    is no word of its world (the mini policy: 7.5 % of the modifiers against 3.2 %).

    `temperature` 0 takes the most likely, `top_k` 0 and `top_p` 1 truncate nothing. Ranges and weights have a
    temperature of their own, `control_temperature`, by default 0: a modifier's likeliest control is what the
    policy learnt of it, and what differs between rewrites are words. `end_bias` is added to the logit of
    ending: more of it leaves more prompts alone; `restraint`, 0 to 1, is the share of the policy's gain to
    give up for that, by the policy's measured curve. `taste` is whom it writes for, names with strengths
    from 0 to 2, as `parse_taste` reads them; none is the crowd. `max_new_tokens` counts the policy's tokens
    per row, `budget` the reader's tokens of the whole text, `max_modifiers` appended modifiers; before
    `min_modifiers` stand there the policy may not end, even where it would leave the prompt alone. A
    finished modifier that breaks a ban, repeats another one or looks like another tool's control (`tidy`)
    is redrawn up to `redraws` times, then dropped.

    >>> SamplingSettings().for_rollouts().temperature
    1.0
    """

    temperature: float = 0.7
    top_k: int = 200
    top_p: float = 0.9
    control_temperature: float = 0.0
    end_bias: float = 0.0
    restraint: float = 0.0
    taste: Mix = ()
    max_new_tokens: int = 60
    max_modifiers: int | None = None
    min_modifiers: int = 0
    budget: TokenBudget | None = None
    bans: Bans = field(default_factory=Bans)
    tidy: bool = True
    redraws: int = REDRAWS
    use_cache: bool = True

    def __post_init__(self) -> None:
        for name in ("temperature", "control_temperature"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"{name} must be 0 or more, not {quote(value)}")
        if not (math.isfinite(self.restraint) and 0 <= self.restraint <= 1):
            raise ConfigError(f"restraint must be from 0 to 1, not {quote(self.restraint)}")
        for name, strength in self.taste:
            if not 0 <= strength <= STRONGEST:
                raise ConfigError(
                    f"the strength of the taste {name} must be from 0 to {STRONGEST:g}, not {quote(strength)}"
                )
        if not math.isfinite(self.end_bias):
            raise ConfigError(f"end_bias must be a finite number, not {quote(self.end_bias)}")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must be above 0 and at most 1, not {quote(self.top_p)}")
        counts = {"top_k": 0, "max_new_tokens": 1, "redraws": 0, "max_modifiers": 1, "min_modifiers": 0}
        for name, least in counts.items():
            value = getattr(self, name)
            if name == "max_modifiers" and value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ConfigError(f"{name} must be a whole number of at least {least}, not {quote(value)}")
        if self.max_modifiers is not None and self.min_modifiers > self.max_modifiers:
            raise ConfigError(
                f"at least {self.min_modifiers} modifiers and at most {self.max_modifiers} cannot both hold"
            )

    def for_rollouts(self) -> SamplingSettings:
        """The same lengths, drawn as training needs it: temperature 1, nothing truncated, banned or redrawn.

        The stored log-probabilities are then those of the distribution that was drawn from.
        """
        return SamplingSettings(
            temperature=1.0,
            control_temperature=1.0,
            top_k=0,
            top_p=1.0,
            max_new_tokens=self.max_new_tokens,
            max_modifiers=self.max_modifiers,
            budget=self.budget,
            tidy=False,
            redraws=0,
            use_cache=self.use_cache,
        )
