"""Other ranges and weights for words that were drawn: their worth shows side by side."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from dfprompt.errors import ConfigError
from dfprompt.policy.categorical import draw
from dfprompt.policy.logprobs import head_logprobs, read_trajectory
from dfprompt.policy.modeling import PolicyModel
from dfprompt.policy.trajectory import Phrase, Trajectory

_STREAM = 21  # numbers that a row's words were not drawn with
_ROWS = 32


@torch.no_grad()
def vary_controls(
    model: PolicyModel, trajectory: Trajectory, seeds: Sequence[int], copies: int, *, explore: float = 0.0
) -> Trajectory:
    """Each row `copies` times, side by side: as it was drawn, then with every control drawn anew.

    Words stay as they are: the policy does not read controls back, so that the new ones are draws from the
    same distribution. Copy c of row i depends on seeds[i] and c alone. With `explore`, that share of all
    controls, the first copy's too, is drawn evenly from those that are allowed; the log-probabilities stay
    the policy's. Raises ConfigError for control "token", where a phrase's control is a vote, and for "none".
    """
    if trajectory.control != "phrase":
        raise ConfigError(
            f"controls are drawn anew per phrase, and this policy has control {trajectory.control!r}; set "
            "rollout.control_draws=1"
        )
    model.eval()
    ranges, weights = _read_heads(model, trajectory)
    rows = [row for row in range(len(trajectory)) for _ in range(copies)]
    grown = trajectory.select(rows)
    drawn = [(grown.range_ids.clone(), grown.range_logprobs.clone(), ranges)]
    drawn += [(grown.weight_ids.clone(), grown.weight_logprobs.clone(), weights)]
    for at, row in enumerate(rows):
        where = trajectory.control_mask[row].nonzero().flatten()
        if not len(where) or not (at % copies or explore):
            continue
        generator = np.random.default_rng([seeds[row], _STREAM, at % copies])
        numbers = generator.random((2, len(where)))
        evenly = torch.from_numpy(generator.random(len(where)) < explore)
        for (ids, logprobs, head), uniforms in zip(drawn, numbers, strict=True):
            chosen = draw(_flattened(head[row, where], evenly), torch.from_numpy(uniforms))
            if not at % copies:  # as it was drawn, but for what is drawn evenly
                chosen = torch.where(evenly, chosen, ids[at, where])
            ids[at, where] = chosen
            logprobs[at, where] = head[row, where].gather(-1, chosen[:, None])[:, 0]
    (range_ids, range_logprobs, _), (weight_ids, weight_logprobs, _) = drawn
    return dataclasses.replace(
        grown,
        range_ids=range_ids,
        weight_ids=weight_ids,
        range_logprobs=range_logprobs,
        weight_logprobs=weight_logprobs,
        phrases=tuple(
            _phrases(row, grown.control_mask[at], range_ids[at], weight_ids[at])
            for at, row in enumerate(grown.phrases)
        ),
    )


def _flattened(logprobs: Tensor, evenly: Tensor) -> Tensor:
    """Log-probabilities (N, K), the same for every class that is allowed in rows (N,) drawn `evenly`."""
    even = torch.where(logprobs > -torch.inf, 0.0, -torch.inf).log_softmax(-1)
    return torch.where(evenly.to(logprobs.device)[:, None], even, logprobs)


def _read_heads(model: PolicyModel, trajectory: Trajectory) -> tuple[Tensor, Tensor]:
    """Both heads' distributions, a few rows at a time: the words' logits beside them are large."""
    width, found = trajectory.tokens.shape[1], []
    for start in range(0, len(trajectory), _ROWS):
        part = trajectory.select(range(start, min(start + _ROWS, len(trajectory))))
        heads = head_logprobs(read_trajectory(model, part), part)
        found.append([pad(head, (0, 0, 0, width - head.shape[1])) for head in heads])
    return torch.cat([part[0] for part in found]), torch.cat([part[1] for part in found])


def _phrases(
    phrases: Sequence[Phrase], mask: Tensor, range_ids: Tensor, weight_ids: Tensor
) -> tuple[Phrase, ...]:
    """The phrases of a row with what was drawn at their closing tokens; one that was cut short has none."""
    return tuple(
        dataclasses.replace(each, range_id=int(range_ids[each.end]), weight_id=int(weight_ids[each.end]))
        if each.end < len(mask) and mask[each.end]
        else each
        for each in phrases
    )
