"""Stage 2 by PPO: words, ranges and weights learnt from rewards, with a value model.

The method of the paper (equation 3: reward minus KL to stage 1), as in Schulman et al. 2017 with the usual
parts: advantages by GAE from a value model, several epochs of minibatches on each rollout, clipping, an early
stop when the policy has moved too far. Departures from the paper's code, each because it was a mistake there
or a loss of signal: log-probabilities of the actions drawn; separate surrogates for text, range and weight;
KL in the loss, exact for the heads; a trained value model; masks.

The reward stands at a row's last token. A control is credited with the advantage of its phrase's closing
token. No value can see a control that was drawn (controls are not read back), so with decay 1 each control
gets the whole reward minus the baseline; with less, early ones would get a part. With `rollout.control_draws`
above 1 a rewrite is drawn with several sets of controls on one noise: words get the advantage of their mean
reward, controls that over the other sets.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfprompt.policy import Policy
from dfprompt.training.advantages import generalized_advantages, pool_controls, rewards_at_end, whiten
from dfprompt.training.checkpoint import Trained
from dfprompt.training.losses import value_loss
from dfprompt.training.optimization import learning_rate, make_optimizer, set_learning_rate
from dfprompt.training.rl_algorithm import RlAlgorithm, credit_controls, mean_figures
from dfprompt.training.rl_loop import Trainer
from dfprompt.training.rl_settings import PpoSettings
from dfprompt.training.rollout import Rollout
from dfprompt.training.update import Experience, Outcome, add_up, norm_of, passes, syncing, widen
from dfprompt.training.value_model import ValueModel, compute_values


class Ppo(RlAlgorithm):
    """Proximal policy optimisation with a value model of its own trunk."""

    settings: PpoSettings

    def __init__(self, accelerator: Any, policy: Policy, settings: PpoSettings) -> None:
        value = ValueModel(policy.model)  # before anything is frozen or wrapped
        super().__init__(accelerator, policy, settings)
        rates = settings.optimizer.model_copy(update={"learning_rate": settings.value.learning_rate})
        optimizer = make_optimizer(value, rates)
        self.trained["value"] = Trained(value, optimizer)
        self.value, self._value_rates = value, rates
        self.value_model, self.value_optimizer = accelerator.prepare(value, optimizer)

    def learn(self, rollout: Rollout, step: int) -> dict[str, float]:
        """Estimate advantages, then update policy and value model minibatch by minibatch."""
        if step == 0:
            self._expect(rollout)
        experience, credited, said = self.consult(self.look_back(rollout), rollout, step)
        experience = self.estimate(experience, credited)
        rate = self.begin_step(step)
        set_learning_rate(self.value_optimizer, learning_rate(self._value_rates, step))
        self.value.train()
        outcomes: list[Outcome] = []
        values: list[dict[str, float]] = []
        learning = self.learning(step)
        for minibatch in self.batches(experience, step):
            learning = self.fit(minibatch, learning, outcomes)
            values.append(self.update_value(minibatch))
        found = self.finish(experience, outcomes, rate)
        return {**found, **mean_figures(values), "value/explained": explained(experience), **said}

    @torch.no_grad()
    def estimate(self, experience: Experience, rollout: Rollout) -> Experience:
        """Add values, returns and whitened advantages."""
        trajectory, size = experience.trajectory, self.settings.optimizer.micro_batch_size
        width, mask = trajectory.tokens.shape[1], trajectory.token_mask
        self.value.eval()
        with self.accelerator.autocast():
            parts = [compute_values(self.value, part.trajectory) for part in experience.split(size)]
        values = torch.cat([widen(part, width) for part in parts])
        draws = self.settings.rollout.control_draws
        rewards = rewards_at_end(pool_controls(rollout.terms.reward.to(values), draws), mask)
        found = generalized_advantages(
            rewards, values, mask, discount=self.settings.value.discount, decay=self.settings.value.decay
        )
        return experience.adding(
            advantages=whiten(found.advantages, mask),
            values=values * mask,
            returns=found.returns,
            **credit_controls(rollout.terms.reward, experience, draws),
        )

    def update_value(self, minibatch: Experience) -> dict[str, float]:
        """One optimiser step of the value model."""
        self.value_optimizer.zero_grad()
        count = float(minibatch.trajectory.token_mask.sum())
        settings, total = self.settings, torch.zeros((), device=self.accelerator.device)
        parts = list(passes(self.accelerator, minibatch, settings.optimizer.micro_batch_size))
        for number, part in enumerate(parts):
            with syncing(self.accelerator, self.value_model, last=number + 1 == len(parts)):
                loss = self._value_loss(part, count)
                self.accelerator.backward(loss * self.accelerator.num_processes)
            total = total + loss.detach()
        norm = self.accelerator.clip_grad_norm_(
            self.value_model.parameters(), settings.optimizer.max_grad_norm
        )
        self.value_optimizer.step()
        figures = add_up(self.accelerator, {"value/loss": total})
        return figures | norm_of(self.value_optimizer, "value/grad_norm", norm)

    def _value_loss(self, part: Experience, count: float) -> Tensor:
        return value_loss(
            compute_values(self.value_model, part.trajectory),
            part.tensors["values"],
            part.tensors["returns"],
            part.trajectory.token_mask,
            clip=self.settings.value.clip or None,
            count=count,
        )

    @torch.no_grad()
    def _expect(self, rollout: Rollout) -> None:
        """Start the value model at the mean reward: its head would need hundreds of steps to get there."""
        self.value.head.bias.fill_(float(rollout.terms.reward.mean()))


def explained(experience: Experience) -> float:
    """The share of the returns' variance that the values predicted, 1 at best; 0 where there is none."""
    mask = experience.trajectory.token_mask
    returns, values = (experience.tensors[name][mask].double() for name in ("returns", "values"))
    if len(returns) < 2 or not float(returns.var()):
        return 0.0
    return float(1 - (returns - values).var() / returns.var())


train_ppo = Trainer(Ppo)
