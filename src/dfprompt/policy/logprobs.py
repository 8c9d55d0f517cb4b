"""The log-probabilities of a trajectory's draws, with gradients: what training uses.

Computed in one pass without a cache, on the stored token and class ids, under the stored masks. They
equal those recorded while sampling; the published code gathers the controls' at constant classes
instead of the drawn ones, so that its heads cannot learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.policy.categorical import masked_logprobs
from dfprompt.policy.modeling import PolicyOutput
from dfprompt.policy.trajectory import Trajectory
from dfprompt.policy.vocabulary import Vocabulary


@dataclass(frozen=True, eq=False)
class ActionLogprobs:
    """Log-probabilities of the draws of a trajectory; B rows, T tokens, R ranges, W weights, D width.

    text, range, weight (B, T): of the drawn ids, 0 where nothing was drawn. text_all (B, T, V) is None
    unless asked for; range_all (B, T, R) and weight_all (B, T, W): whole distributions at every token,
    for entropies and exact divergences; meaningful where `control_mask` is true. states (B, T, D): the
    hidden state each token was drawn from.
    """

    text: Tensor
    range: Tensor
    weight: Tensor
    range_all: Tensor
    weight_all: Tensor
    states: Tensor
    text_all: Tensor | None = None


def compute_logprobs(
    model: torch.nn.Module, vocabulary: Vocabulary, trajectory: Trajectory, *, whole_text: bool = False
) -> ActionLogprobs:
    """Log-probabilities of what was drawn under `model` as it is now (a PolicyModel, wrapped or not).

    A control of a phrase is read from the hidden state behind its closing token, one of a token from
    the state before it, as in sampling. The model's mode (train or eval) is left as it is.
    """
    length = trajectory.tokens.shape[1]
    out = read_trajectory(model, trajectory)
    masks = vocabulary.masks.to(out.logits.device)
    text_all = masked_logprobs(out.logits[:, :length], masks[trajectory.states])
    range_all, weight_all = head_logprobs(out, trajectory)
    return ActionLogprobs(
        text=_gather(text_all, trajectory.tokens, trajectory.text_mask),
        range=_gather(range_all, trajectory.range_ids, trajectory.control_mask),
        weight=_gather(weight_all, trajectory.weight_ids, trajectory.control_mask),
        range_all=range_all,
        weight_all=weight_all,
        states=out.states[:, :length],
        text_all=text_all if whole_text else None,
    )


def read_trajectory(model: torch.nn.Module, trajectory: Trajectory) -> PolicyOutput:
    """One pass over context and tokens; the outputs at the context's last token and all T drawn ones."""
    ids = torch.cat([trajectory.context_ids, trajectory.tokens], dim=1)
    mask = torch.cat([trajectory.context_mask, trajectory.token_mask.to(trajectory.context_mask)], dim=1)
    out: PolicyOutput = model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=(mask.cumsum(1) - 1).clamp_min(0),
        keep=trajectory.tokens.shape[1] + 1,
        **({"tastes": trajectory.tastes} if trajectory.tastes.shape[1] else {}),
    )
    return out


def head_logprobs(out: PolicyOutput, trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """The distributions (B, T, R) and (B, T, W) of both heads at every drawn token, of what was read."""
    length = trajectory.tokens.shape[1]
    behind = 1 if trajectory.control == "phrase" else 0
    range_logits = out.range_logits[:, behind : behind + length]
    weight_logits = out.weight_logits[:, behind : behind + length]
    ranges = masked_logprobs(range_logits, trajectory.range_allowed[:, None, :])
    return ranges, weight_logits.float().log_softmax(-1)


def _gather(logprobs: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """logprobs (B, T, N) at ids (B, T); 0 outside the mask, and no gradient there."""
    classes = ids.masked_fill(~mask, 0)
    chosen = logprobs.gather(-1, classes[..., None])[..., 0]
    # Two steps: a masked class may be impossible, and 0 times -inf is not 0.
    return torch.where(mask, chosen.masked_fill(~mask, 0.0), torch.zeros_like(chosen))
