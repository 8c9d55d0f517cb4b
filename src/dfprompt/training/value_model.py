"""The value model of PPO: a copy of the stage 1 trunk with one number on top, trained whole."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from dfprompt.policy import PolicyModel, Trajectory
from dfprompt.training.model_setup import set_dropout


class ValueModel(nn.Module):
    """Predicts the reward of a row from what has been drawn of it so far.

    The trunk starts with the policy's own weights (the published code loads a file none of whose names
    match, and then freezes a random head); the head starts at 0. What is frozen in the policy's trunk, under
    LoRA, stays frozen here.
    """

    def __init__(self, policy: PolicyModel) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(policy.trunk.base_model)
        set_dropout(self.trunk, 0.0)
        self.head = nn.Linear(policy.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(policy.device)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor) -> Tensor:
        """Values (B, T), float32, at every position of input_ids (B, T)."""
        out = self.trunk(
            input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids, use_cache=False
        )
        values: Tensor = self.head(out.last_hidden_state.to(self.head.weight.dtype))[..., 0].float()
        return values


def compute_values(model: nn.Module, trajectory: Trajectory) -> Tensor:
    """Values (B, T): of each token's state before the token was drawn; a ValueModel, wrapped or not."""
    ids = torch.cat([trajectory.context_ids, trajectory.tokens], dim=1)[:, :-1]
    mask = torch.cat([trajectory.context_mask, trajectory.token_mask.to(trajectory.context_mask)], dim=1)
    mask = mask[:, :-1]
    values: Tensor = model(ids, mask, (mask.cumsum(1) - 1).clamp_min(0))
    return values[:, trajectory.context_ids.shape[1] - 1 :]
