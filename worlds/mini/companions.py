"""What goes with the mini world's pipeline: its scores, judge, policies, words and prompts, by name."""

from __future__ import annotations

from dfprompt.api.mini_evaluation import NOTE
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.pipeline.companions import Companions

COMPANIONS = Companions(
    name="mini",
    note=NOTE,
    rewards=("mini",),
    judges=("mini",),
    policy="mini",
    sft="mini-sft",
    modifiers=tuple(MODIFIERS),
    # One or two of every kind: disturbing, too strong, faint, a composition, harmful, without any effect.
    examples=(
        "golden hour",
        "detailed texture",
        "watercolor",
        "vivid colors",
        "soft glow",
        "close-up",
        "film grain",
        "8k",
    ),
    suffix="masterpiece, award winning, 8k",
    prompts="mini",
    embedder="clip",
)
