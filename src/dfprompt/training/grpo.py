"""Stage 2 by GRPO: each rewrite is compared with others of the same prompt on the same noise.

Shao et al. 2024 (arXiv 2402.03300) without a value model: the advantage of a rewrite is its reward against
mean and spread of its group, the same for all its draws. Common noise takes the luck of the picture out of
the comparison. Two departures: losses are means over all draws of a minibatch and not over rows first, so
that long rewrites are not favoured (Liu et al. 2025, arXiv 2503.20783); text, range and weight have separate
surrogates. The plain prompt may take part in each group, as something to be better than.
"""

from __future__ import annotations

from torch import Tensor

from dfprompt.training.advantages import group_advantages, pool_controls
from dfprompt.training.rl_algorithm import RlAlgorithm, credit_controls, spread_over_tokens
from dfprompt.training.rl_loop import Trainer
from dfprompt.training.rl_settings import GrpoSettings
from dfprompt.training.rollout import Rollout
from dfprompt.training.update import Experience, Outcome


class Grpo(RlAlgorithm):
    """Group-relative policy optimisation."""

    settings: GrpoSettings

    def learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        """Compare within groups, then update minibatch by minibatch."""
        experience, credited, said = self.consult(self.look_back(rollout), rollout, step)
        experience = self.estimate(experience, credited)
        rate = self.begin_step(step)
        outcomes: list[Outcome] = []
        learning = self.learning(step)
        for minibatch in self.batches(experience, step):
            learning = self.fit(minibatch, learning, outcomes)
        even = _even_groups(self._rewards_of_words(rollout))
        return {**self.finish(experience, outcomes, rate), "even_groups": even, **said}

    def estimate(self, experience: Experience, rollout: Rollout) -> Experience:
        """Add advantages: each row's own, at all of its tokens."""
        group, draws = self.settings.group, self.settings.rollout.control_draws
        words = self._rewards_of_words(rollout)
        plain = rollout.plain if group.keep_plain else None
        advantages = group_advantages(words, plain, scale=group.scale).flatten()
        advantages = advantages.repeat_interleave(draws)
        return experience.adding(
            advantages=spread_over_tokens(advantages, experience),
            **credit_controls(rollout.terms.reward, experience, draws),
        )

    def _rewards_of_words(self, rollout: Rollout) -> Tensor:
        """What each rewrite of each group earned (N, G), the mean over its draws of controls."""
        draws = self.settings.rollout.control_draws
        return pool_controls(rollout.terms.reward, draws)[::draws].reshape(-1, self.settings.group.size)


def _even_groups(rewards: Tensor) -> float:
    """The share of groups (N, G) whose rewrites all earned the same: they teach nothing."""
    return float((rewards.amax(1) == rewards.amin(1)).float().mean())


train_grpo = Trainer(Grpo)
