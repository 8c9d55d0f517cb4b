"""The phrases of drawn rows as the critic of controls sees them: place, words, company, and the control
drawn.

A phrase is described by stage 1's state behind it (prompt and words so far), by the mean of its own tokens'
embeddings (a causal model's last state says what comes next, and only faintly which words have just ended),
and by the sum of the other phrases' means: what a control is worth depends on what stands beside it.

Shapes: B rows, K phrases at most in a row, D width of the language model.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from dfprompt.policy import Trajectory
from dfprompt.policy.logprobs import read_trajectory


class Phrases(NamedTuple):
    """The phrases of B rows, at most K each.

    states, words, company (B, K, D): features; controls (B, K): range * weights + weight of what was drawn;
    ends (B, K): where each phrase's closing token is; mask (B, K): which there are; tastes (B, N): whom its
    row is written for.
    """

    states: Tensor
    words: Tensor
    company: Tensor
    controls: Tensor
    ends: Tensor
    mask: Tensor
    tastes: Tensor


@torch.no_grad()
def describe_phrases(reference: nn.Module, trajectory: Trajectory, weights: int, size: int) -> Phrases:
    """The phrases of a trajectory as stage 1 (`reference`) reads them, `size` rows at a time.

    `weights` is how many weights there are. Phrases that drew no control (cut short) are left out.
    """
    ends, mask = _closing_tokens(trajectory)
    row = torch.arange(len(trajectory), device=ends.device)[:, None]
    there = mask[..., None]
    states = _states(reference, trajectory, size)[row, ends] * there
    words = _mean_embeddings(reference, trajectory, ends.shape[1]) * there
    company = (words.sum(1, keepdim=True) - words) * there
    drawn = (trajectory.range_ids * weights + trajectory.weight_ids)[row, ends] * mask
    return Phrases(states, words, company, drawn, ends, mask, trajectory.tastes)


def _closing_tokens(trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """Where the phrases with a control close, (B, K), side by side at the left, and which there are."""
    mask = trajectory.control_mask
    counts = mask.sum(1)
    most = max(1, int(counts.max())) if len(mask) else 1
    there = torch.arange(most, device=mask.device) < counts[:, None]
    ends = torch.zeros(len(mask), most, dtype=torch.long, device=mask.device)
    ends[there] = mask.nonzero()[:, 1]
    return ends, there


def _states(reference: nn.Module, trajectory: Trajectory, size: int) -> Tensor:
    """Stage 1's hidden state behind every token, (B, T, D), float32."""
    width, parts = trajectory.tokens.shape[1], []
    for start in range(0, len(trajectory), size):
        part = trajectory.select(range(start, min(start + size, len(trajectory))))
        found = read_trajectory(reference, part).states[:, 1:].float()
        parts.append(pad(found, (0, 0, 0, width - found.shape[1])))
    return torch.cat(parts)


def _mean_embeddings(reference: nn.Module, trajectory: Trajectory, most: int) -> Tensor:
    """The mean embedding (B, K, D) of each phrase's own tokens, in the order of the phrases."""
    embedded = reference.get_input_embeddings()(trajectory.tokens).float()
    found = embedded.new_zeros(len(trajectory), most, embedded.shape[-1])
    width = trajectory.control_mask.shape[1]
    for row, phrases in enumerate(trajectory.phrases):
        mask = trajectory.control_mask[row]
        kept = [each for each in phrases if each.end < width and mask[each.end]]
        for number, each in enumerate(kept):
            found[row, number] = embedded[row, each.start : each.end].mean(0)
    return found
