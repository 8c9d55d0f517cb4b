"""Rollouts: prompts become drawn rewrites, an executor turns these into rewards.

What a reward does with a rewrite is its own business: the image-based one draws a picture from the attempt's
seed and scores it, a toy reads the words. Nothing here knows of pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dfprompt.errors import RewardError
from dfprompt.executor import Executor
from dfprompt.policy import Policy, Rewrite, SamplingSettings, Trajectory, join_trajectories, vary_controls
from dfprompt.policy.rewrite import rewrites_of
from dfprompt.prompt import DFPrompt
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.advantages import pool_controls
from dfprompt.training.examples import RowOrder
from dfprompt.training.rl_settings import RolloutSettings

# What watched pictures, and the plain ones on the same noise, show of their plain prompts.
SHOWN, PLAIN_MEANING = "meaning", "plain_meaning"
# Streams of random numbers that must not meet: what is drawn, and how minibatches are cut.
_DRAWING, MINIBATCHES, _VALIDATION, _TASTES = 11, 12, 13, 14


@dataclass(frozen=True)
class Task:
    """A prompt to rewrite, with the other fields of its row, which a judge may read."""

    prompt: str
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Attempt:
    """One rewrite to be rewarded; `image_seed` is that of its picture's noise.

    The reward is for what the rewrite makes of `rewrite.plain`, and must be scored on that plain prompt.
    `watched`: an attempt of a validation, whose picture may also be held against the plain one. `taste`:
    whose reward is asked for; "" is the crowd's.
    """

    rewrite: Rewrite
    image_seed: int
    record: Mapping[str, Any] | None = None
    watched: bool = False
    taste: str = ""


# Scores attempts, in order: RewardTerms with tensors (B,). Raises RewardError or GenerationError.
Rewarder = Callable[[Sequence[Attempt]], RewardTerms]


@dataclass(frozen=True, eq=False)
class Rollout:
    """B rows in order, the G rewrites of a group side by side, each in all its `control_draws` rows.

    `plain` (N,) are the rewards of the N groups' plain prompts on the same noise, where they were drawn, and
    `plain_scores` their scores by name.
    """

    trajectory: Trajectory
    attempts: tuple[Attempt, ...]
    terms: RewardTerms
    plain: Tensor | None = None
    control_draws: int = 1
    plain_scores: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Draws:
    """What is drawn for one step: one entry per group; `tastes` too, where there are some."""

    tasks: tuple[Task, ...]
    seeds: tuple[tuple[int, ...], ...]
    image_seeds: tuple[int, ...]
    tastes: tuple[str, ...] = ()


class RolloutPlan:
    """Which prompts and which random numbers each step gets: functions of (seed, step) alone."""

    def __init__(
        self,
        tasks: Sequence[Task],
        *,
        rows: int,
        group: int,
        seed: int,
        control_draws: int = 1,
        tastes: Sequence[str] = (),
        dropout: float = 0.0,
    ) -> None:
        self.tastes, self.dropout = tuple(tastes), dropout
        self.tasks, self.group, self.groups, self.seed = tasks, group, rows // (group * control_draws), seed
        self._order = RowOrder([True] * len(tasks), rejected_share=0.0, seed=seed)

    def draws(self, step: int) -> Draws:
        """The draws of a step, counted from 0; an epoch takes every prompt once."""
        first = step * self.groups
        tasks = [self.tasks[self._order.at(at)] for at in range(first, first + self.groups)]
        drawn = draws_for(tasks, self.group, [self.seed, _DRAWING, step])
        return replace(drawn, tastes=self._tastes(step)) if self.tastes else drawn

    def _tastes(self, step: int) -> tuple[str, ...]:
        """A taste for each group, evenly drawn; none for a share of them."""
        generator = np.random.default_rng([self.seed, _TASTES, step])
        which = generator.integers(len(self.tastes), size=self.groups)
        dropped = generator.random(self.groups) < self.dropout
        return tuple("" if off else self.tastes[at] for at, off in zip(which, dropped, strict=True))


def validation_draws(tasks: Sequence[Task], seed: int, tastes: Sequence[str] = ()) -> Draws:
    """One rewrite of each task, with the same numbers at every validation, the tastes in turn."""
    drawn = draws_for(tasks, 1, [seed, _VALIDATION])
    turns = ("", *tastes)
    return replace(drawn, tastes=tuple(turns[at % len(turns)] for at in range(len(tasks))))


def draws_for(tasks: Sequence[Task], group: int, entropy: Sequence[int]) -> Draws:
    """Seeds for `group` rewrites of each task; the pictures of a group share their noise."""
    generator = np.random.default_rng(list(entropy))
    seeds = generator.integers(2**63, size=(len(tasks), group), dtype=np.int64).tolist()
    images = generator.integers(2**31, size=len(tasks), dtype=np.int64).tolist()
    return Draws(tuple(tasks), tuple(map(tuple, seeds)), tuple(images))


def roll_out(
    policy: Policy,
    draws: Draws,
    reward: Rewarder,
    executor: Executor,
    settings: RolloutSettings,
    *,
    acting: Sequence[bool] | None = None,
    keep_plain: bool = False,
    watched: bool = False,
    explore: float = 0.0,
) -> Rollout:
    """Draw the rewrites and have them rewarded, in batches of whole groups where groups fit a batch.

    Each rewrite has `settings.control_draws` rows on the same noise, the first as drawn; watched ones one.
    Drawn at temperature 1 without truncation or bans, so that the stored log-probabilities are those of
    the distribution that was drawn from. `acting` says which ranges act at any step of the pictures, and
    `explore` which share of the controls is drawn evenly.
    """
    copies = 1 if watched else settings.control_draws
    group = len(draws.seeds[0]) * copies
    prompts = [task.prompt for task in draws.tasks for _ in range(group)]
    seeds = [seed for row in draws.seeds for seed in row for _ in range(copies)]
    tastes = draws.tastes or ("",) * len(draws.tasks)
    mixes = [((taste, 1.0),) if taste else () for taste in tastes for _ in range(group // copies)]
    trajectory = policy.sample(
        prompts[::copies], seeds[::copies], sampling(settings), acting=acting, tastes=mixes
    )
    if copies > 1 or explore:
        trajectory = vary_controls(policy.model, trajectory, seeds[::copies], copies, explore=explore)
    bases = [DFPrompt.from_plain(prompt) for prompt in prompts]
    rewrites = rewrites_of(trajectory, bases, prompts, seeds, policy.model.config.tables)
    to_score = []
    each_group = zip(draws.tasks, draws.image_seeds, tastes, strict=True)
    for number, (task, image_seed, taste) in enumerate(each_group):
        own = rewrites[number * group : (number + 1) * group]
        own = [*own, plain_rewrite(task.prompt)] if keep_plain else own
        to_score += [Attempt(rewrite, image_seed, task.record, watched, taste) for rewrite in own]
    width = group + keep_plain
    terms = score_attempts(to_score, reward, executor, max(width, settings.batch_size // width * width))
    drawn = torch.tensor([at % width < group for at in range(len(to_score))])
    return Rollout(
        trajectory,
        tuple(each for each, keep in zip(to_score, drawn.tolist(), strict=True) if keep),
        select_terms(terms, drawn),
        terms.reward[~drawn] if keep_plain else None,
        copies,
        {name: each[~drawn] for name, each in terms.scores.items()} if keep_plain else {},
    )


def sampling(settings: RolloutSettings) -> SamplingSettings:
    """How rewrites are drawn in training."""
    most = settings.max_modifiers or None
    return SamplingSettings(max_new_tokens=settings.max_new_tokens, max_modifiers=most).for_rollouts()


def plain_rewrite(prompt: str) -> Rewrite:
    """A prompt left as it is."""
    return Rewrite(prompt, DFPrompt.from_plain(prompt), (), 0.0, 0, 0)


def score_attempts(
    attempts: Sequence[Attempt], reward: Rewarder, executor: Executor, batch_size: int
) -> RewardTerms:
    """The rewards of attempts, on the CPU, batch by batch through the executor.

    Raises RewardError where a reward is not one finite number per attempt.
    """
    batches = [attempts[at : at + batch_size] for at in range(0, len(attempts), batch_size)]
    found = []
    for batch, terms in zip(batches, executor.map(reward, batches), strict=True):
        if terms.reward.shape != (len(batch),):
            raise RewardError(f"{len(batch)} attempts got rewards of shape {tuple(terms.reward.shape)}")
        if bad := (~torch.isfinite(terms.reward)).nonzero().flatten().tolist():
            raise RewardError(
                f"the reward of {str(batch[bad[0]].rewrite.prompt)!r} is {terms.reward[bad[0]].item()}; "
                "a reward must be a finite number for every picture"
            )
        found.append(terms)
    return join_terms(found)


def join_terms(parts: Sequence[RewardTerms]) -> RewardTerms:
    """One set of terms of several, on the CPU."""
    named = {
        name: {key: torch.cat([getattr(part, name)[key].cpu() for part in parts]) for key in group}
        for name in ("scores", "terms", "binds")
        for group in [getattr(parts[0], name)]
    }
    return RewardTerms(torch.cat([part.reward.float().cpu() for part in parts]), **named)


def select_terms(terms: RewardTerms, rows: Tensor) -> RewardTerms:
    """The terms of some rows, by a mask or by numbers."""
    named = {
        name: {key: each[rows] for key, each in getattr(terms, name).items()}
        for name in ("scores", "terms", "binds")
    }
    return RewardTerms(terms.reward[rows], **named)


def share_draws(draws: Draws, process: int, processes: int) -> Draws:
    """The contiguous part of the draws that one of several processes does."""
    edges = [len(draws.tasks) * each // processes for each in range(processes + 1)]
    part = slice(edges[process], edges[process + 1])
    return Draws(draws.tasks[part], draws.seeds[part], draws.image_seeds[part], draws.tastes[part])


def join_rollouts(parts: Sequence[Rollout], fill: int) -> Rollout:
    """The whole rollout of its parts, in order, on the CPU; `fill` is a token id for padding."""
    plain = [part.plain for part in parts if part.plain is not None]
    return Rollout(
        join_trajectories([part.trajectory.to("cpu") for part in parts], fill),
        tuple(each for part in parts for each in part.attempts),
        join_terms([part.terms for part in parts]),
        torch.cat(plain) if plain else None,
        parts[0].control_draws,
        {name: torch.cat([part.plain_scores[name] for part in parts]) for name in parts[0].plain_scores},
    )


def describe_rollout(rollout: Rollout, policy: Policy) -> dict[str, float]:
    """What the rows of a metrics file say of a rollout: rewards, their terms, lengths, habits.

    A rewrite in several draws of its controls is one: its words count once, its reward is their mean.
    """
    tables = policy.model.config.tables
    kept = [[each for each in row if not each.dropped] for row in rollout.trajectory.phrases]
    phrases = [each for row in kept for each in row]
    default, draws = (tables.default_range, tables.default_weight), rollout.control_draws
    plain = sum((each.range_id, each.weight_id) == default for each in phrases)
    found = {
        "reward": float(rollout.terms.reward.mean()),
        "reward_spread": float(pool_controls(rollout.terms.reward, draws)[::draws].std(correction=0)),
        "modifiers": len(phrases) / len(kept),
        "left_alone": sum(not row for row in kept) / len(kept),
        "distinct_modifiers": len({each.text for each in phrases}) / max(1, len(phrases) // draws),
        "default_controls": plain / max(1, len(phrases)),
        "cut_short": sum(end == "length" for end in rollout.trajectory.ends) / len(kept),
    }
    if rollout.plain is not None:
        found["plain_reward"] = float(rollout.plain.mean())
    for prefix in ("terms", "scores", "binds"):
        for name, values in getattr(rollout.terms, prefix).items():
            found[f"{prefix}/{name}"] = float(values.float().mean())
    return found


def attempt_json(rollout: Rollout, row: int) -> dict[str, Any]:
    """One attempt as a JSON object: the rewrite and what it earned."""
    terms = {name: round(float(each[row]), 6) for name, each in rollout.terms.scores.items()}
    return {
        **rollout.attempts[row].rewrite.to_json(),
        "reward": round(float(rollout.terms.reward[row]), 6),
        "scores": terms,
        "image_seed": rollout.attempts[row].image_seed,
    }
