"""The policy: a causal language model that appends modifiers, each with an effect range and a weight."""

from dfprompt.policy.bans import Bans
from dfprompt.policy.budget import TokenBudget
from dfprompt.policy.bundle import Policy
from dfprompt.policy.configuration import PolicyConfig
from dfprompt.policy.controls import vary_controls
from dfprompt.policy.folders import load_policy_folder, save_policy_folder
from dfprompt.policy.logprobs import ActionLogprobs, compute_logprobs
from dfprompt.policy.modeling import PolicyModel, PolicyOutput
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
