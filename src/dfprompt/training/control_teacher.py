"""Critic-taught heads: what a rollout teaches the critic of controls, and what it then tells heads and words.

    critic.learn(rows, rewards)                                       # all pictures so far
    q = critic.worth(phrases)                                         # every control of every phrase
    heads maximise   sum over controls of policy(control) q[control]
    words are credited with   reward + sum over phrases of (mean q under better controls - q[drawn])

Words are no longer blamed for the controls they were drawn with, and no control has to be drawn to be learnt.
With `critic.caution` a second output of the critic foresees how much of the plain picture's meaning is
lost; it is taken off the worth of controls and off the words' credit as foreseen: the luck of a picture is
not in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from dfprompt.errors import TrainingError
from dfprompt.policy import ActionLogprobs, Policy, compute_logprobs
from dfprompt.training.control_credit import (
    better_controls,
    control_logprobs,
    lost_meaning,
    words_credit,
)
from dfprompt.training.control_critic import ControlCritic
from dfprompt.training.phrases import Phrases, describe_phrases
from dfprompt.training.rl_settings import CriticSettings
from dfprompt.training.rollout import Rollout
from dfprompt.training.update import Experience, widen


@dataclass(frozen=True, eq=False)
class Lesson:
    """What the critic says of a rollout: the words' rewards (B,), the controls' worth (B, T, R, W)."""

    rewards: Tensor
    worth: Tensor
    figures: Mapping[str, float]


class ControlTeacher:
    """The critic of one run, and how it is asked."""

    def __init__(self, policy: Policy, settings: CriticSettings, *, group: int, size: int) -> None:
        config = policy.model.config
        weights = torch.tensor([float(each.first) for each in config.tables.weights])
        self.policy, self.settings, self.group, self.size = policy, settings, group, size
        self.critic = ControlCritic(len(config.ranges), weights, settings)

    def warming(self, step: int) -> bool:
        """Whether words stay in this step, so that the critic sees every control first."""
        return step < self.settings.warmup

    def explore(self, step: int) -> float:
        """The share of a step's controls that are drawn evenly."""
        return 1.0 if self.warming(step) else self.settings.explore

    @torch.no_grad()
    def teach(self, reference: nn.Module, experience: Experience, rollout: Rollout) -> Lesson:
        """Teach the critic a rollout, then ask it about the rollout's phrases."""
        device, width = experience.trajectory.tokens.device, experience.trajectory.tokens.shape[1]
        phrases = describe_phrases(reference, experience.trajectory, self.critic.shape[1], self.size)
        phrases = Phrases(*(each.cpu() for each in phrases))
        foreseen = self.critic.learn(phrases, self._targets(rollout), self.group)
        found = self.critic.worth(phrases).flatten(2, 3)  # (B, K, C, O)
        reward, caution = found[..., 0], self.settings.caution
        gate = found[..., 1] if caution else torch.zeros_like(reward)
        worth = reward + caution * gate
        target = better_controls(self._policy_controls(experience, phrases), worth, self.settings.sharpness)
        rewards = rollout.terms.reward
        if self.settings.credit_words:
            rewards = words_credit(rewards, reward, phrases.controls, target, phrases.mask)
        lost = torch.where(phrases.mask, (target * gate).sum(-1), 0.0).sum(-1)
        figures = {
            "critic/foreseen": foreseen,
            "critic/gained": float((rewards - rollout.terms.reward).mean()),
            "critic/rows": float(len(self.critic)),
        }
        if caution:
            figures["critic/lost"] = float(lost.mean())
        spread = self._over_tokens(worth, phrases, width).to(device)
        return Lesson(rewards + caution * lost, spread, figures)

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps of it."""
        return self.critic.tensors()

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        self.critic.restore(tensors)

    def _targets(self, rollout: Rollout) -> Tensor:
        """What the critic learns of each row, (B, O): the reward, and how much meaning was lost."""
        reward = rollout.terms.reward.float()
        if not self.settings.caution:
            return reward[:, None]
        name = self.settings.gate
        if name not in rollout.terms.scores or name not in rollout.plain_scores:
            raise TrainingError(
                f"critic.caution holds the score {name!r} against the plain picture's, and the reward gives "
                f"{', '.join(rollout.terms.scores) or 'no scores'}; name one in critic.gate, or set "
                "critic.caution=0"
            )
        plain = rollout.plain_scores[name].repeat_interleave(self.group)
        lost = lost_meaning(rollout.terms.scores[name].float(), plain.float(), self.settings.slack)
        return torch.stack([reward, lost], 1)

    def _policy_controls(self, experience: Experience, phrases: Phrases) -> Tensor:
        """The policy's log-probabilities (B, K, C) of each phrase's controls, as it is now."""
        model = self.policy.model.eval()
        parts: list[ActionLogprobs] = [
            compute_logprobs(model, self.policy.vocabulary, part.trajectory)
            for part in experience.split(self.size)
        ]
        width = experience.trajectory.tokens.shape[1]
        row = torch.arange(len(experience))[:, None]
        ranges, weights = (
            torch.cat([widen(getattr(part, name), width) for part in parts]).cpu()[row, phrases.ends]
            for name in ("range_all", "weight_all")
        )
        return control_logprobs(ranges, weights)

    def _over_tokens(self, worth: Tensor, phrases: Phrases, width: int) -> Tensor:
        """Worth (B, K, C), less its mean over controls, at the phrases' closing tokens, (B, T, R, W)."""
        flat = (worth - worth.mean(-1, keepdim=True)) * phrases.mask[..., None]
        spread = torch.zeros(len(worth), width, worth.shape[-1])
        row = torch.arange(len(worth))[:, None].expand_as(phrases.ends)
        spread[row[phrases.mask], phrases.ends[phrases.mask]] = flat[phrases.mask]
        return spread.unflatten(-1, self.critic.shape)
