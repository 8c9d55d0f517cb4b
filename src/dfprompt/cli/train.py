"""`dfprompt train`: stage 1 on filtered prompts, stage 2 on rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from dfprompt.api.checks import check
from dfprompt.api.costs import estimate_training
from dfprompt.cli import console, moved
from dfprompt.cli.commands import WholeGroup
from dfprompt.cli.costs import tell
from dfprompt.cli.options import JSON, takes
from dfprompt.cli.training_bar import TrainingBar
from dfprompt.requests.learn import ReinforceRequest, TrainRequest

if TYPE_CHECKING:
    from dfprompt.training.rl_loop import RlResult
    from dfprompt.training.sft import SftResult

app = typer.Typer(
    name="train",
    help="Train the policy: on filtered prompts first, then on rewards.",
    cls=WholeGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)

_RL_FIGURES = {
    "reward": "reward",
    "validation_reward": "validation",
    "kl/text": "kl",
    "entropy/range": "range entropy",
    "pictures_per_second": "pictures/s",
}
_FIGURES = {"loss": "loss", "validation_loss": "validation", "rows_per_second": "rows/s"}


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
    moved.register(app, "arms", "dfprompt train arms", "experiments.stage_two arms")
    parent.add_typer(app, name="train")


@app.callback()
def group() -> None:
    """Train the policy: on filtered prompts first, then on rewards."""


@app.command("sft")
@takes(TrainRequest)
def sft(request: TrainRequest, as_json: bool = JSON) -> None:
    """Stage 1: learn what people append, from prompts that passed the filter; prints the policy's folder.

    \b
    Examples:
      dfprompt train sft --recipe mini-sft --set data.folder=data
      dfprompt train sft --recipe mini-sft --set optimizer.steps=200 --output my-policy
      dfprompt train sft --resume --output my-policy
    """
    check(request)
    from dfprompt.api.training import run_sft

    with TrainingBar("sft", _FIGURES) as bar:
        result = run_sft(
            request.recipe,
            request.assignments,
            output=request.output,
            resume=request.resume,
            force=request.force,
            report=bar.show,
        )
    loss = result.validation_loss if math.isfinite(result.validation_loss) else None
    _answer(result, bar, {"validation_loss": loss}, as_json=as_json)


@app.command("ppo")
@takes(ReinforceRequest)
def ppo(request: ReinforceRequest, as_json: bool = JSON) -> None:
    """Stage 2 by PPO: learn words, ranges and weights from the pictures' rewards; prints the policy's folder.

    \b
    Examples:
      dfprompt train ppo --recipe mini-ppo --set data.folder=data --output run
      dfprompt train ppo --recipe mini-ppo --set train=words \\
        --set rollout.control_draws=1 --output words-only
      dfprompt train ppo --resume --output run
    """
    _reinforce("ppo", request, as_json=as_json)


@app.command("grpo")
@takes(ReinforceRequest)
def grpo(request: ReinforceRequest, as_json: bool = JSON) -> None:
    """Stage 2 by GRPO: compare rewrites of one prompt on one noise; prints the policy's folder.

    \b
    Examples:
      dfprompt train grpo --recipe mini-grpo --set data.folder=data --output run
      dfprompt train grpo --recipe mini-grpo --set group.keep_plain=true
      dfprompt train grpo --resume --output run
    """
    _reinforce("grpo", request, as_json=as_json)


def _reinforce(algorithm: Literal["ppo", "grpo"], request: ReinforceRequest, *, as_json: bool) -> None:
    check(request)
    cost = partial(estimate_training, algorithm, _recipe_of(request), request.changes)
    # A run that goes on has drawn a part of it, and what stops it is said by the run.
    if (request.estimate or not request.resume) and tell(cost, asked=request.estimate, as_json=as_json):
        return
    from dfprompt.api.reinforcement import run_reinforcement

    with TrainingBar(algorithm, _RL_FIGURES) as bar:
        result, drawn = run_reinforcement(
            algorithm,
            request.recipe,
            request.changes,
            output=request.output,
            resume=request.resume,
            force=request.force,
            allow_code=request.allow_code,
            report=bar.show,
        )
    _answer(result, bar, {"validation_reward": result.validation_reward, **drawn}, as_json=as_json)
    if not as_json:
        console.note(f"{drawn['pictures']} pictures; sharing spared {drawn['evaluations_saved']} evaluations")


def _recipe_of(request: ReinforceRequest) -> Any:
    """Return the recipe a run follows: a resumed one, where none is named, its own."""
    if request.recipe is None and request.resume and request.output is not None:
        return Path(request.output) / "recipe.toml"
    return request.recipe


def _answer(
    result: SftResult | RlResult, bar: TrainingBar, found: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print where the policy is, and say it where no step was left to do."""
    policy = str(result.folder / "policy")
    if bar.progress is None:
        console.note(f"nothing was left to do: all {result.steps} steps of {result.folder} were done before")
    if as_json:
        console.write_json({"policy": policy, "steps": result.steps, "best_step": result.best_step, **found})
    else:
        console.write_result(policy)
