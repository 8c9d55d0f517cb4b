"""The policy: a causal language model that appends modifiers, each with an effect range and a weight.

Names are loaded on first use: a rewrite by rules, or the budget of a search, needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dfprompt.policy.bans import Bans
    from dfprompt.policy.budget import TokenBudget
    from dfprompt.policy.configuration import PolicyConfig
    from dfprompt.policy.controls import vary_controls
    from dfprompt.policy.folders import load_policy_folder, save_policy_folder
    from dfprompt.policy.logprobs import ActionLogprobs, compute_logprobs
    from dfprompt.policy.modeling import PolicyModel, PolicyOutput
    from dfprompt.policy.policy import Policy
    from dfprompt.policy.rewrite import Rewrite
    from dfprompt.policy.settings import SamplingSettings
    from dfprompt.policy.tables import ControlTables
    from dfprompt.policy.trajectory import Phrase, Trajectory, join_trajectories
    from dfprompt.policy.vocabulary import Vocabulary

__all__ = [
    "ActionLogprobs",
    "Bans",
    "ControlTables",
    "Phrase",
    "Policy",
    "PolicyConfig",
    "PolicyModel",
    "PolicyOutput",
    "Rewrite",
    "SamplingSettings",
    "TokenBudget",
    "Trajectory",
    "Vocabulary",
    "compute_logprobs",
    "join_trajectories",
    "load_policy_folder",
    "save_policy_folder",
    "vary_controls",
]

_MODULES = {
    "Bans": "bans",
    "TokenBudget": "budget",
    "Policy": "policy",
    "PolicyConfig": "configuration",
    "vary_controls": "controls",
    "load_policy_folder": "folders",
    "save_policy_folder": "folders",
    "ActionLogprobs": "logprobs",
    "compute_logprobs": "logprobs",
    "PolicyModel": "modeling",
    "PolicyOutput": "modeling",
    "Rewrite": "rewrite",
    "SamplingSettings": "settings",
    "ControlTables": "tables",
    "Phrase": "trajectory",
    "Trajectory": "trajectory",
    "join_trajectories": "trajectory",
    "Vocabulary": "vocabulary",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
