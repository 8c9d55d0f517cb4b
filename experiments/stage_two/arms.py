"""The arms of the stage 2 experiment: what each changes in the recipe, and on how many training seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from dfprompt.config import nearest
from dfprompt.errors import ConfigError


@dataclass(frozen=True)
class Arm:
    """One kind of training; `changes` are settings on top of the algorithm's recipe."""

    name: str
    says: str
    algorithm: Literal["ppo", "grpo"] = "ppo"
    changes: tuple[str, ...] = ()
    seeds: int = 1
    control: Literal["phrase", "token"] = "phrase"


_ONE_DRAW = "rollout.control_draws=1"
# Words see as many rewrites as those of the frozen arm: what is left between the two are the heads alone.
_PLACEBO = ("pictures.ignore_controls=true", _ONE_DRAW)
# Nothing holds it: no divergence costs, none ends a rollout's updates. Any watchdog may stop it; what the
# same watchdogs say of the other arms stands in their metrics.
_HACKED = (
    "surrogate.stop_kl=1e9",
    "export=last",
    "kl.text=0",
    "kl.range=0",
    "kl.weight=0",
    'reward.changes=["composite.c=0","composite.d=0"]',
    "watchdogs.meaning=stop",
    "watchdogs.collapse=stop",
    "watchdogs.unstable=stop",
)
ARMS = (
    Arm("ppo", "words, ranges and weights by PPO", seeds=3),
    Arm("frozen", "words by PPO, every control the default", changes=("train=words", _ONE_DRAW), seeds=3),
    Arm(
        "placebo",
        "PPO whose pictures ignore the controls",
        changes=_PLACEBO,
        seeds=3,
    ),
    Arm("grpo", "words, ranges and weights by GRPO", algorithm="grpo", seeds=3),
    Arm(
        "grpo-frozen",
        "words by GRPO, every control the default",
        algorithm="grpo",
        changes=("train=words", _ONE_DRAW),
        seeds=3,
    ),
    Arm("heads", "stage 1's words, ranges and weights by PPO", changes=("train=heads",)),
    Arm(
        "compared",
        "PPO with two sets of controls per rewrite, compared",
        changes=("rollout.control_draws=2",),
    ),
    Arm("one-draw", "GRPO with one set of controls per rewrite", algorithm="grpo", changes=(_ONE_DRAW,)),
    Arm(
        "token",
        "PPO with a control per token and a majority vote, as published",
        changes=(_ONE_DRAW,),
        control="token",
    ),
    Arm("hack", "PPO on the aesthetic score alone, without any pull to stage 1", changes=_HACKED),
)


def choose_arms(names: tuple[str, ...]) -> tuple[Arm, ...]:
    """The arms of these names, or all of them; raises ConfigError for a name there is not.

    >>> [arm.seeds for arm in choose_arms(("ppo", "token"))]
    [3, 1]
    """
    by_name = {arm.name: arm for arm in ARMS}
    for name in names:
        if name not in by_name:
            raise ConfigError(f"there is no arm {name!r}; {nearest(name, list(by_name))}")
    return tuple(by_name[name] for name in names) if names else ARMS
