"""What every control of a phrase is worth: a Gaussian process on all pictures so far, read by heads and
words.

The reward depends on the finished rewrite alone, so a picture of any earlier rollout teaches as well as one
of this: nothing here goes stale when the policy moves. The model is

    reward(row) - mean of its group = sum over its phrases of worth[phrase, control] - the same mean + noise

with a group drawn on one prompt and one noise, which cancel. Two phrases are alike as their words are: a
third of it whatever the prompt, a third where stage 1's states behind them are alike too, a third where the
other words of their rows are as well. Two controls are alike by range, by weight, and by both:

    k(phrase, phrase') = k_words (1 + k_state + k_state k_company) / 3          each exp(-distance^2 / 2
    scale^2) k(control, control') = (1 + [same range] + k_weight + [same range] k_weight) / 4

and where rows are written for several tastes, times (1 + [same taste]) / 2: half of what pleases pleases all.

A row's kernel is the sum over pairs of phrases of the product, centred within groups on both sides;
pull = (K + noise)^-1 rewards, and worth is the kernel of a phrase with all phrases seen times their rows'
pull (Rasmussen and Williams 2006, equation 2.25). Pictures of long ago count less: their noise grows with
age.

Shapes: B rows, K phrases of a row, P phrases of a rollout, C = R ranges x W weights, O things learnt side by
side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.training.phrases import Phrases
from dfprompt.training.rl_settings import CriticSettings

_SMALLEST_SPREAD = 1e-4
_PARTS = ("states", "words", "company")
_ROWS = ("controls", "rows", "rewards", "tastes")


@dataclass(frozen=True, eq=False)
class Seen:
    """One rollout as the critic keeps it: its P phrases, and of its B rows the centred rewards (B, O)."""

    states: Tensor
    words: Tensor
    company: Tensor
    controls: Tensor
    rows: Tensor
    rewards: Tensor
    tastes: Tensor
    group: int


class ControlCritic:
    """The worth of each control of each phrase, in units of reward, exact on the latest `window` rows.

    `weights` (W,) are the table's; rollouts are kept whole, and the oldest leaves when there are too many.
    """

    def __init__(self, ranges: int, weights: Tensor, settings: CriticSettings) -> None:
        self.settings, self.shape = settings, (ranges, len(weights))
        self.controls = control_kernel(ranges, weights, settings.weight_scale)
        self.seen: list[Seen] = []
        self.kernel = torch.zeros(0, 0)
        self.pull = torch.zeros(0, 0)  # of each phrase seen: its row's part in every answer, (phrases, O)
        self.scale: dict[str, tuple[Tensor, Tensor]] = {}

    def __len__(self) -> int:
        return sum(len(each.rewards) for each in self.seen)

    def learn(self, phrases: Phrases, rewards: Tensor, group: int) -> float:
        """Add a rollout with its rewards (B, O), groups of `group` rows side by side.

        Returns the share of the first reward's variance within groups that was foreseen, at most 1.
        """
        targets = centred(rewards.float(), group)
        errors = targets[:, 0] - centred(self.predict(phrases), group)[:, 0] if self.seen else targets[:, 0]
        self._measure(phrases)
        self._add(self._keep(phrases, targets, group))
        self._solve()
        return float(1 - errors.square().mean() / targets[:, 0].square().mean().clamp_min(1e-12))

    def worth(self, phrases: Phrases) -> Tensor:
        """Worth (B, K, R, W, O) of all controls of phrases; 0 where there is none, and before any picture."""
        outputs = self.pull.shape[-1] or 1
        found = torch.zeros(*phrases.mask.shape, *self.shape, outputs)
        if not self.seen or not phrases.mask.any():
            return found
        asked = self._keep(phrases, torch.zeros(len(phrases.mask), outputs), 1)
        alike = torch.cat([self._alike(asked, each) for each in self.seen], 1)  # (phrases asked, seen)
        of_control = torch.stack(
            [(alike * each) @ self.controls[self._drawn()] for each in self.pull.T], -1
        )  # (phrases asked, C, O)
        found[phrases.mask.cpu()] = of_control.reshape(-1, *self.shape, outputs)
        return found

    def predict(self, phrases: Phrases) -> Tensor:
        """The rewards (B, O) of rows, up to what their group has in common."""
        flat = self.worth(phrases).flatten(2, 3)
        chosen = phrases.controls.cpu()[..., None, None].expand(-1, -1, 1, flat.shape[-1])
        return (flat.gather(2, chosen)[:, :, 0] * phrases.mask.cpu()[..., None]).sum(1)

    def tensors(self) -> dict[str, Tensor]:
        """All pictures it has learnt from: what a checkpoint keeps. The rest is computed from them."""
        found = {}
        for number, each in enumerate(self.seen):
            for name in (*_PARTS, *_ROWS):
                found[f"{number:06d}/{name}"] = getattr(each, name)
            found[f"{number:06d}/group"] = torch.tensor(each.group)
        for name, (mean, spread) in self.scale.items():
            found[f"scale/{name}"] = torch.stack([mean, spread])
        return found

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Learn anew, to the same bits, from what `tensors` gave."""
        self.seen, self.kernel = [], torch.zeros(0, 0)
        self.scale = {name: tuple(tensors[f"scale/{name}"]) for name in _PARTS if f"scale/{name}" in tensors}
        for number in sorted({name.split("/")[0] for name in tensors if not name.startswith("scale/")}):
            parts = {name: tensors[f"{number}/{name}"] for name in (*_PARTS, *_ROWS)}
            self._add(Seen(**parts, group=int(tensors[f"{number}/group"])))
        if self.seen:
            self._solve()

    def _keep(self, phrases: Phrases, targets: Tensor, group: int) -> Seen:
        """The phrases of a rollout without padding, each feature in its own spread."""
        mask = phrases.mask.cpu()
        features = {name: self._scaled(name, getattr(phrases, name).cpu()[mask]) for name in _PARTS}
        rows = torch.arange(len(mask))[:, None].expand_as(mask)[mask]
        return Seen(
            **features,
            controls=phrases.controls.cpu()[mask],
            rows=rows,
            rewards=targets,
            tastes=phrases.tastes.cpu()[rows],
            group=group,
        )

    def _measure(self, phrases: Phrases) -> None:
        """Fix mean and spread of the features on the first rollout that has phrases."""
        mask = phrases.mask.cpu()
        if self.scale or int(mask.sum()) < 2:
            return
        for name in _PARTS:
            on = getattr(phrases, name).float().cpu()[mask]
            self.scale[name] = (on.mean(0), on.std(0).clamp_min(_SMALLEST_SPREAD))

    def _scaled(self, name: str, features: Tensor) -> Tensor:
        """Features (P, D) so that two of the first rollout are 2 apart in mean squared distance."""
        if name not in self.scale:
            return features.float()
        mean, spread = self.scale[name]
        return (features.float() - mean) / spread / features.shape[-1] ** 0.5

    def _add(self, new: Seen) -> None:
        """Grow the kernel of rows by a rollout; the oldest ones leave where there are more than the window.

        The kernel is made of tiles, each a function of two rollouts alone: made again, it has the same bits.
        """
        self.seen.append(new)
        column = torch.cat([self._tile(each, new) for each in self.seen])
        before = len(self.kernel)
        grown = torch.cat([self.kernel, column[:before].T])
        self.kernel = torch.cat([grown, column], 1)
        while len(self) > self.settings.window and len(self.seen) > 1:
            gone = len(self.seen.pop(0).rewards)
            self.kernel = self.kernel[gone:, gone:]

    def _tile(self, one: Seen, two: Seen) -> Tensor:
        """The kernel (B, B') of the rows of two rollouts, less their groups' means on both sides."""
        pairs = self._alike(one, two) * self.controls[one.controls][:, two.controls]
        rows = torch.zeros(len(one.rewards), len(two.controls)).index_add_(0, one.rows, pairs)
        both = torch.zeros(len(two.rewards), len(one.rewards)).index_add_(0, two.rows, rows.T)
        return centred(centred(both, two.group).T.contiguous(), one.group)

    def _solve(self) -> None:
        """The pull of every phrase's row on every answer."""
        age = torch.cat([torch.full((len(each.rewards),), float(at)) for at, each in self._by_age()])
        noise = self.settings.noise * (1 + age / self.settings.memory)
        factor = torch.linalg.cholesky(self.kernel + torch.diag(noise))
        pulls = torch.cholesky_solve(torch.cat([each.rewards for each in self.seen]), factor)
        sizes = [len(each.rewards) for each in self.seen]
        parts = zip(pulls.split(sizes), self.seen, strict=True)
        self.pull = torch.cat([centred(part, each.group)[each.rows] for part, each in parts])

    def _by_age(self) -> Sequence[tuple[int, Seen]]:
        """Rollouts from the oldest on, each with how many came after it."""
        return [(len(self.seen) - 1 - number, each) for number, each in enumerate(self.seen)]

    def _drawn(self) -> Tensor:
        return torch.cat([each.controls for each in self.seen])

    def _alike(self, one: Seen, two: Seen) -> Tensor:
        """How alike the phrases of two rollouts are, (P, P'), between 0 and 1."""
        how = self.settings
        words = rbf(one.words, two.words, how.words_scale)
        state = rbf(one.states, two.states, how.state_scale)
        company = rbf(one.company, two.company, how.company_scale)
        alike = words * (1 + state + state * company) / 3
        if not one.tastes.shape[1]:
            return alike
        same = (one.tastes[:, None] == two.tastes).all(-1)
        return alike * (1 + same) / 2


def control_kernel(ranges: int, weights: Tensor, scale: float) -> Tensor:
    """How alike two controls are, (C, C): by range, by weight, by both, and a quarter of it in any case.

    >>> control_kernel(2, torch.tensor([1.0]), scale=1.0)
    tensor([[1.0000, 0.5000],
            [0.5000, 1.0000]])
    """
    same = torch.eye(ranges)[:, None, :, None]
    near = rbf(weights.float()[:, None], weights.float()[:, None], scale)[None, :, None, :]
    return ((1 + same + near + same * near) / 4).reshape(ranges * len(weights), -1)


def rbf(one: Tensor, two: Tensor, scale: float) -> Tensor:
    """exp(-distance^2 / (2 scale^2)) of points (P, D) and (Q, D), as (P, Q).

    >>> rbf(torch.zeros(1, 2), torch.ones(1, 2), scale=1.0)
    tensor([[0.3679]])
    """
    return torch.exp(torch.cdist(one, two).square() / (-2 * scale**2))


def centred(values: Tensor, group: int) -> Tensor:
    """Values (B, ...) less the mean of their group of rows, which lie side by side.

    >>> centred(torch.tensor([1.0, 3.0, 5.0, 5.0]), 2)
    tensor([-1.,  1.,  0.,  0.])
    """
    grouped = values.reshape(-1, group, *values.shape[1:])
    return (grouped - grouped.mean(1, keepdim=True)).reshape(values.shape)
