"""Updates of the policy on what it drew: the same for PPO and GRPO, which differ in their advantages.

    loss = sum over text, range, weight of
             share * clipped surrogate  +  scale * coefficient * KL(policy || stage 1)  -  bonus * entropy

Each is a mean over its own draws in the minibatch: a control's advantage is that of its phrase's closing
token (of its own token with control "token"), or one of its own where controls were compared with others of
the same words; forced tokens and padding have no part. Where a critic knows the worth of controls, the mean
worth that both heads can expect stands in the place of their surrogates. Each kind is stopped by itself, and
heads and trunk have a gradient clip each: a head's gradient is as large as the whole trunk's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dfprompt.policy import ActionLogprobs, Trajectory, Vocabulary, compute_logprobs
from dfprompt.training.control_credit import expected_worth
from dfprompt.training.losses import (
    clipped_surrogate,
    entropy,
    exact_kl,
    sampled_entropy_loss,
    sampled_kl,
    sampled_kl_loss,
)
from dfprompt.training.optimization import is_head
from dfprompt.training.rl_settings import RlSettings

TEXT, RANGE, WEIGHT = "text", "range", "weight"
KINDS = (TEXT, RANGE, WEIGHT)


@dataclass(frozen=True, eq=False)
class Experience:
    """What updates are computed from: a trajectory and tensors (B, T, ...) beside it.

    old_text, old_range, old_weight: log-probabilities the rows were drawn with; reference_text,
    reference_range_all, reference_weight_all: those of stage 1; advantages; where controls were compared,
    control_advantages; where a critic knows it, control_worth (B, T, R, W); for PPO also values and returns.
    """

    trajectory: Trajectory
    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.trajectory)

    def select(self, rows: Sequence[int]) -> Experience:
        """Some rows, without the padding only the others needed."""
        part = self.trajectory.select(rows)
        index = torch.as_tensor(list(rows), dtype=torch.long, device=part.tokens.device)
        width = part.tokens.shape[1]
        return Experience(part, {name: each[index, :width] for name, each in self.tensors.items()})

    def adding(self, **tensors: Tensor) -> Experience:
        """The same rows with more tensors beside them."""
        return Experience(self.trajectory, {**self.tensors, **tensors})

    def split(self, size: int) -> Iterator[Experience]:
        """The rows in order, so many at a time."""
        for start in range(0, len(self), size):
            yield self.select(range(start, min(start + size, len(self))))

    def counts(self) -> dict[str, float]:
        """How many draws of each kind there are."""
        controls = float(self.trajectory.control_mask.sum())
        return {TEXT: float(self.trajectory.text_mask.sum()), RANGE: controls, WEIGHT: controls}


@torch.no_grad()
def look_back(
    policy: nn.Module, reference: nn.Module, vocabulary: Vocabulary, trajectory: Trajectory, size: int
) -> Experience:
    """The log-probabilities of a trajectory under the policy that drew it and under stage 1, row by row.

    Those of the policy are computed as updates compute them, so that the first ratio is 1 to the bit of
    rounding; `drift` tells how far they are from the ones recorded while drawing.
    """
    found: dict[str, list[Tensor]] = {}
    width = trajectory.tokens.shape[1]
    for part in Experience(trajectory, {}).split(size):
        old = compute_logprobs(policy, vocabulary, part.trajectory)
        ref = compute_logprobs(reference, vocabulary, part.trajectory)
        named = {
            "old_text": old.text,
            "old_range": old.range,
            "old_weight": old.weight,
            "reference_text": ref.text,
            "reference_range_all": ref.range_all,
            "reference_weight_all": ref.weight_all,
        }
        for name, each in named.items():
            found.setdefault(name, []).append(widen(each, width))
    return Experience(trajectory, {name: torch.cat(parts) for name, parts in found.items()})


def widen(tensor: Tensor, width: int) -> Tensor:
    """A tensor (B, T, ...) with zeros behind its tokens, up to a width."""
    sides = (0, 0) * (tensor.ndim - 2) + (0, width - tensor.shape[1])
    return nn.functional.pad(tensor, sides)


def drift(experience: Experience) -> float:
    """The largest difference between log-probabilities recorded while drawing and those of the training path.

    Rounding, about 1e-5 in single precision. More means that updates are computed from something else than
    what was drawn: the mistake that kept the published heads from learning.
    """
    trajectory = experience.trajectory
    pairs = (
        (trajectory.text_logprobs, TEXT, trajectory.text_mask),
        (trajectory.range_logprobs, RANGE, trajectory.control_mask),
        (trajectory.weight_logprobs, WEIGHT, trajectory.control_mask),
    )
    gaps = [(drawn - experience.tensors[f"old_{kind}"]).detach()[mask].abs() for drawn, kind, mask in pairs]
    return max((float(gap.max()) for gap in gaps if gap.numel()), default=0.0)


def policy_loss(
    now: ActionLogprobs,
    part: Experience,
    settings: RlSettings,
    counts: Mapping[str, float],
    *,
    kl_scale: float = 1.0,
    learning: Sequence[str] = KINDS,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss of some rows of a minibatch whose draws are counted in `counts`, and what to log, as scalars.

    Only kinds that are `learning` enter the loss; all are measured. Sums over the parts of a minibatch are
    the loss and the figures of the whole.
    """
    of, trajectory = part.tensors, part.trajectory
    text, control = trajectory.text_mask, trajectory.control_mask
    masks = {TEXT: text, RANGE: control, WEIGHT: control}
    pulls = {
        TEXT: sampled_kl_loss(now.text, of["reference_text"], text, count=counts[TEXT]),
        RANGE: exact_kl(now.range_all, of["reference_range_all"], control, count=counts[RANGE]),
        WEIGHT: exact_kl(now.weight_all, of["reference_weight_all"], control, count=counts[WEIGHT]),
    }
    entropies = {
        RANGE: entropy(now.range_all, control, count=counts[RANGE]),
        WEIGHT: entropy(now.weight_all, control, count=counts[WEIGHT]),
    }
    controls = of.get("control_advantages", of["advantages"])
    worth = of.get("control_worth")
    loss = torch.zeros((), device=now.text.device)
    figures: dict[str, Tensor] = {}
    if worth is not None:
        expected = torch.where(control, expected_worth(now.range_all, now.weight_all, worth), 0.0).sum()
        figures["critic/expected"] = expected / max(counts[RANGE], 1.0)
        if RANGE in learning:
            loss = loss - settings.surrogate.range * figures["critic/expected"]
    for kind in KINDS:
        found = clipped_surrogate(
            getattr(now, kind),
            of[f"old_{kind}"],
            of["advantages"] if kind == TEXT else controls,
            masks[kind],
            clip=settings.surrogate.clip,
            count=counts[kind],
        )
        if kind in learning and (worth is None or kind == TEXT):
            loss = loss + getattr(settings.surrogate, kind) * found.loss
        if kind in learning:
            loss = loss + kl_scale * getattr(settings.kl, kind) * pulls[kind]
        figures |= {f"clipped/{kind}": found.clipped, f"moved/{kind}": found.kl}
        figures[f"kl/{kind}"] = pulls[kind]
    for kind, each in entropies.items():
        if kind in learning:
            loss = loss - getattr(settings.surrogate, f"{kind}_entropy") * each
        figures[f"entropy/{kind}"] = each
    spread = sampled_entropy_loss(now.text, text, count=counts[TEXT])
    if TEXT in learning and settings.surrogate.text_entropy:
        loss = loss + settings.surrogate.text_entropy * spread
    figures["entropy/text"] = -(now.text * text).sum() / max(counts[TEXT], 1.0)
    # A measure of the words' divergence; their pull is a loss whose value means little.
    figures["kl/text"] = sampled_kl(now.text, of["reference_text"], text, count=counts[TEXT])
    return loss, {"loss": loss, **figures}


@dataclass(frozen=True)
class Outcome:
    """What one minibatch came to: its figures, and whether it was applied.

    `learning` are the kinds of draws it was for; of these, `stopped` had moved too far.
    """

    figures: dict[str, float]
    applied: bool
    learning: tuple[str, ...] = KINDS
    stopped: tuple[str, ...] = ()


def update_policy(
    accelerator: Any,
    model: nn.Module,
    vocabulary: Vocabulary,
    optimizer: Any,
    minibatch: Experience,
    settings: RlSettings,
    *,
    kl_scale: float = 1.0,
    learning: tuple[str, ...] = KINDS,
) -> Outcome:
    """One optimiser step over a minibatch, in passes of micro_batch_size rows, over all processes.

    Where a kind that is `learning` has moved more than `surrogate.stop_kl` from the policy that drew the
    rows, no step is taken; controls that a critic teaches are not bound to the draws, and never stop. While
    words are not learning the trunk stays. Gradients are clipped after the backward pass, the heads' by
    themselves; `grad_norm` (the trunk's) and `grad_norm/heads` are those before clipping.
    """
    optimizer.zero_grad()
    counts = minibatch.counts()
    total: dict[str, Tensor] = {}
    parts = list(passes(accelerator, minibatch, settings.optimizer.micro_batch_size))
    for number, part in enumerate(parts):
        with syncing(accelerator, model, last=number + 1 == len(parts)):
            now = compute_logprobs(model, vocabulary, part.trajectory)
            loss, figures = policy_loss(now, part, settings, counts, kl_scale=kl_scale, learning=learning)
            # Processes average their gradients; each holds its share of one sum.
            accelerator.backward(loss * accelerator.num_processes)
        for name, each in figures.items():
            total[name] = total.get(name, torch.zeros((), device=each.device)) + each.detach()
    found = add_up(accelerator, total)
    bound = [kind for kind in learning if kind == TEXT or "control_worth" not in minibatch.tensors]
    stopped = tuple(kind for kind in bound if found[f"moved/{kind}"] > settings.surrogate.stop_kl)
    if stopped or not np.isfinite(found["loss"]):
        optimizer.zero_grad()
        return Outcome(found, applied=False, learning=learning, stopped=stopped)
    if TEXT not in learning:
        _still(model)
    norms = clip_parts(accelerator, model, optimizer, settings.optimizer.max_grad_norm)
    optimizer.step()
    for name, norm in norms.items():
        found |= norm_of(optimizer, name, norm)
    return Outcome(found, applied=True, learning=learning)


def clip_parts(accelerator: Any, model: nn.Module, optimizer: Any, most: float) -> dict[str, float]:
    """Clip the gradients of trunk and heads, each by its own norm; returns the norms before, by figure."""
    accelerator.unscale_gradients(optimizer)
    parts: dict[str, list[nn.Parameter]] = {"grad_norm": [], "grad_norm/heads": []}
    for name, each in model.named_parameters():
        if each.requires_grad:
            parts["grad_norm/heads" if is_head(name) else "grad_norm"].append(each)
    return {name: float(nn.utils.clip_grad_norm_(each, most)) for name, each in parts.items() if each}


def _still(model: nn.Module) -> None:
    """Drop the gradients of everything but the heads."""
    for name, each in model.named_parameters():
        if not is_head(name):
            each.grad = None


def norm_of(optimizer: Any, name: str, norm: Any) -> dict[str, float]:
    """The gradient norm of a step, as figures; none of a step that was skipped.

    In fp16 a scale for the loss is found by letting gradients overflow now and then: accelerate skips such a
    step and lowers the scale, and the norm is infinite without anything being wrong.
    """
    return {} if getattr(optimizer, "step_was_skipped", False) else {name: float(norm)}


def passes(accelerator: Any, minibatch: Experience, size: int) -> Iterator[Experience]:
    """The passes this process takes over a minibatch; at least one, so that no process waits for another."""
    rows = list(range(len(minibatch)))[accelerator.process_index :: accelerator.num_processes]
    mine = minibatch.select(rows) if rows else _silenced(minibatch.select([0]))
    return mine.split(size)


def _silenced(part: Experience) -> Experience:
    """Rows in which nothing counts."""
    off = torch.zeros_like(part.trajectory.text_mask)
    return Experience(dataclasses.replace(part.trajectory, text_mask=off, control_mask=off), part.tensors)


def syncing(accelerator: Any, model: nn.Module, *, last: bool) -> AbstractContextManager[Any]:
    """Exchange gradients between processes in the last pass of a step only."""
    return nullcontext() if last else accelerator.no_sync(model)


def add_up(accelerator: Any, figures: Mapping[str, Tensor]) -> dict[str, float]:
    """Figures of all processes, summed."""
    if not figures:
        return {}
    stacked = accelerator.reduce(torch.stack([each.float() for each in figures.values()]), reduction="sum")
    return dict(zip(figures, stacked.tolist(), strict=True))


def minibatches(rows: int, size: int, entropy_: Sequence[int]) -> list[list[int]]:
    """All rows in a random order, cut into pieces of `size`, the last one maybe shorter."""
    order = np.random.default_rng(list(entropy_)).permutation(rows).tolist()
    return [order[start : start + size] for start in range(0, rows, size)]
