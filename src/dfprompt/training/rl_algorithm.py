"""What PPO and GRPO have in common: the policy, its stage 1 self, its optimiser, its pull back to stage 1."""

from __future__ import annotations

import copy
import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dfprompt.policy import Policy
from dfprompt.policy.modeling import HEADS
from dfprompt.training.advantages import compare_controls, whiten
from dfprompt.training.centred_heads import centre_heads, mean_of, subtract_mean
from dfprompt.training.checkpoint import Trained
from dfprompt.training.control_teacher import ControlTeacher
from dfprompt.training.losses import adapt_kl
from dfprompt.training.model_setup import set_dropout
from dfprompt.training.optimization import learning_rate, make_optimizer, set_learning_rate
from dfprompt.training.phrases import describe_phrases
from dfprompt.training.rl_settings import RlSettings
from dfprompt.training.rollout import MINIBATCHES, Rollout
from dfprompt.training.update import (
    KINDS,
    TEXT,
    Experience,
    Outcome,
    drift,
    look_back,
    minibatches,
    update_policy,
)

_MEAN, _CRITIC = "heads_mean", "critic/"


class RlAlgorithm(ABC):
    """An algorithm of stage 2 with everything it trains; `learn` takes a rollout and updates.

    `trained` is what checkpoints hold, `policy` is changed in place. Dropout is off: with it, the
    policy that is updated would not be the one that drew.
    """

    def __init__(self, accelerator: Any, policy: Policy, settings: RlSettings) -> None:
        self.accelerator, self.policy, self.settings = accelerator, policy, settings
        self.vocabulary = policy.vocabulary
        set_dropout(policy.model, 0.0)
        self.reference = copy.deepcopy(policy.model).eval().requires_grad_(False).to(accelerator.device)
        self.kl_scale = 1.0
        _choose_trained(policy, settings)
        if settings.optimizer.gradient_checkpointing:
            policy.model.trunk.gradient_checkpointing_enable()
        rate = settings.optimizer.heads_rate
        optimizer = make_optimizer(policy.model, settings.optimizer, heads_rate=rate)
        self.trained = {"policy": Trained(policy.model, optimizer)}
        self.model, self.optimizer = accelerator.prepare(policy.model, optimizer)
        self.teacher: ControlTeacher | None = None
        if settings.critic.use:
            size = settings.optimizer.micro_batch_size
            self.teacher = ControlTeacher(policy, settings.critic, group=settings.rows_per_prompt, size=size)

    @abstractmethod
    def learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        """Update on a rollout, the step counted from 0; returns what the metrics say of it."""

    def explore(self, step: int) -> float:
        """The share of a step's controls that are drawn evenly."""
        return self.teacher.explore(step) if self.teacher else 0.0

    def learning(self, step: int) -> tuple[str, ...]:
        """The kinds of draws that learn from a step's rollout; words stay while a critic warms up."""
        warming = self.teacher is not None and self.teacher.warming(step)
        return tuple(kind for kind in KINDS if not (warming and kind == TEXT))

    def consult(
        self, experience: Experience, rollout: Rollout, step: int
    ) -> tuple[Experience, Rollout, dict[str, float]]:
        """What the critic says, where there is one: the worth of controls, the words' rewards, figures."""
        if step == 0 and self.settings.optimizer.centre_heads:
            self._centre(experience)
        if self.teacher is None:
            return experience, rollout, {}
        lesson = self.teacher.teach(self.reference, experience, rollout)
        credited = dataclasses.replace(rollout.terms, reward=lesson.rewards)
        return (
            experience.adding(control_worth=lesson.worth),
            dataclasses.replace(rollout, terms=credited),
            dict(lesson.figures),
        )

    def _centre(self, experience: Experience) -> None:
        """Take the mean state behind the first rollout's phrases off what the heads read."""
        size = self.settings.optimizer.micro_batch_size
        found = describe_phrases(self.reference, experience.trajectory, 1, size)
        if found.mask.any():
            centre_heads(self.policy.model, found.states[found.mask].mean(0))

    def memory(self) -> dict[str, Tensor]:
        """What a checkpoint has to remember in tensors besides what trains."""
        mean = mean_of(self.policy.model)
        found = {} if mean is None else {_MEAN: mean}
        if self.teacher is not None:
            found |= {_CRITIC + name: each for name, each in self.teacher.tensors().items()}
        return found

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to remember besides tensors."""
        return {"kl_scale": self.kl_scale}

    def restore(self, state: Mapping[str, Any], memory: Mapping[str, Tensor]) -> None:
        """Put back what `state` and `memory` gave."""
        self.kl_scale = float(state["kl_scale"])
        if _MEAN in memory:
            subtract_mean(self.policy.model, memory[_MEAN])
        if self.teacher is not None:
            start = len(_CRITIC)
            self.teacher.restore({key[start:]: x for key, x in memory.items() if key.startswith(_CRITIC)})

    def look_back(self, rollout: Rollout) -> Experience:
        """The rollout's log-probabilities under the policy that drew it and under stage 1."""
        trajectory = rollout.trajectory.to(self.accelerator.device)
        self.policy.model.eval()
        with self.accelerator.autocast():
            size = self.settings.optimizer.micro_batch_size
            return look_back(self.policy.model, self.reference, self.vocabulary, trajectory, size)

    def begin_step(self, step: int) -> float:
        """Set the learning rates of a step; returns the policy's."""
        rate = learning_rate(self.settings.optimizer, step)
        set_learning_rate(self.optimizer, rate)
        self.policy.model.train()
        return rate

    def batches(self, experience: Experience, step: int) -> list[Experience]:
        """Every minibatch of every epoch over a rollout, in order."""
        settings, found = self.settings, []
        for epoch in range(settings.surrogate.epochs):
            entropy = [settings.seed, MINIBATCHES, step, epoch]
            for rows in minibatches(len(experience), settings.optimizer.batch_size, entropy):
                found.append(experience.select(rows))
        return found

    def fit(
        self, minibatch: Experience, learning: tuple[str, ...], outcomes: list[Outcome]
    ) -> tuple[str, ...]:
        """One optimiser step of the kinds that are `learning`; returns those that still are.

        A kind that has moved too far learns no more from this rollout, and the others go on without it.
        """
        while learning:
            outcomes.append(self.update(minibatch, learning))
            if outcomes[-1].applied:
                return learning
            stopped = outcomes[-1].stopped
            learning = tuple(kind for kind in learning if stopped and kind not in stopped)
        return ()

    def update(self, minibatch: Experience, learning: tuple[str, ...] = KINDS) -> Outcome:
        """One optimiser step of the policy, or none where a kind that is learning has moved too far."""
        return update_policy(
            self.accelerator,
            self.model,
            self.vocabulary,
            self.optimizer,
            minibatch,
            self.settings,
            kl_scale=self.kl_scale,
            learning=learning,
        )

    def finish(self, experience: Experience, outcomes: Sequence[Outcome], rate: float) -> dict[str, float]:
        """The figures of a step, means over its updates; the KL coefficients move towards their target."""
        broken = [each for each in outcomes if not math.isfinite(each.figures["loss"])]
        applied = [each for each in outcomes if each.applied]
        counted = broken or applied or outcomes[:1]
        found = mean_figures([each.figures for each in counted])
        found |= {"updates": float(len(applied)), "learning_rate": rate}
        found["updates/text"] = float(sum(TEXT in each.learning for each in applied))
        found |= {"drift": drift(experience), "kl_scale": self.kl_scale}
        target = self.settings.kl.target
        if target:
            self.kl_scale = adapt_kl(self.kl_scale, found["kl/text"], target, rate=self.settings.kl.rate)
        return found


def mean_figures(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each figure over rows that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    found = {name: [row[name] for row in rows if name in row] for name in names}
    return {name: sum(values) / len(values) for name, values in found.items()}


def spread_over_tokens(advantages: torch.Tensor, experience: Experience) -> torch.Tensor:
    """One advantage per row (B,) as one per token (B, T)."""
    mask = experience.trajectory.token_mask
    return torch.where(mask, advantages.to(mask.device, torch.float32)[:, None], 0.0)


def credit_controls(rewards: torch.Tensor, experience: Experience, draws: int) -> dict[str, torch.Tensor]:
    """The controls' own advantages (B, T), whitened, by name; none where each rewrite has a single row."""
    if draws == 1:
        return {}
    mask = experience.trajectory.control_mask
    rewards = rewards.to(mask.device, torch.float32)
    gained = compare_controls(rewards, draws)[:, None]
    # Pictures that are the same must not teach by the last bit of their rewards.
    size = rewards.abs().max()
    return {"control_advantages": whiten(torch.where(mask, gained, 0.0), mask, size=size)}


def _choose_trained(policy: Policy, settings: RlSettings) -> None:
    """Both heads train; so does the trunk, unless the words are to stay those of stage 1."""
    for name, parameter in policy.model.named_parameters():
        is_head = any(f"{head}." in name for head in HEADS)
        if is_head and "original_module" not in name:  # the copy peft keeps of what it replaced
            parameter.requires_grad_(True)
        elif settings.train == "heads":
            parameter.requires_grad_(False)
