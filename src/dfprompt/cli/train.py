"""`dfprompt train`: stage 1 on filtered prompts, stage 2 on rewards."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Literal

import typer

from dfprompt.cli import console, moved
from dfprompt.cli.training_bar import TrainingBar

app = typer.Typer(
    name="train",
    help="Train the policy: on filtered prompts first, then on rewards.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

_RECIPE = typer.Option(
    None, "--recipe", metavar="R.toml", help="What to train and how; see recipes/ and docs/training.md."
)
_SET = typer.Option(
    [], "--set", metavar="KEY=VALUE", help="Change a setting, as optimizer.steps=200; repeatable."
)
_OUTPUT = typer.Option(
    None, "--output", metavar="DIR", help="The run's folder; default: dfprompt-out/<date>-<recipe>."
)
_RESUME = typer.Option(False, "--resume", help="Go on with the run in --output at its last checkpoint.")
_FORCE = typer.Option(False, "--force", help="Begin anew where --output holds a run.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")

_ALLOW_CODE = typer.Option(False, "--allow-code", help="Let a reward recipe import Python code.")

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
def sft(
    recipe: Path | None = _RECIPE,
    changes: list[str] = _SET,
    output: Path | None = _OUTPUT,
    resume: bool = _RESUME,
    force: bool = _FORCE,
    as_json: bool = _JSON,
) -> None:
    """Stage 1: learn what people append, from prompts that passed the filter; prints the policy's folder.

    \b
    Examples:
      dfprompt train sft --recipe recipes/mini-sft.toml --set data.folder=data
      dfprompt train sft --recipe recipes/mini-sft.toml --set optimizer.steps=200 --output my-policy
      dfprompt train sft --resume --output my-policy
    """
    from dfprompt.api.training import run_sft

    with TrainingBar("sft", _FIGURES) as bar:
        result = run_sft(recipe, changes, output=output, resume=resume, force=force, report=bar.show)
    policy = result.folder / "policy"
    if as_json:
        console.write_json(
            {
                "policy": str(policy),
                "steps": result.steps,
                "best_step": result.best_step,
                "validation_loss": result.validation_loss if math.isfinite(result.validation_loss) else None,
            }
        )
    else:
        console.write_result(str(policy))


@app.command("ppo")
def ppo(
    recipe: Path | None = _RECIPE,
    changes: list[str] = _SET,
    output: Path | None = _OUTPUT,
    resume: bool = _RESUME,
    force: bool = _FORCE,
    allow_code: bool = _ALLOW_CODE,
    as_json: bool = _JSON,
) -> None:
    """Stage 2 by PPO: learn words, ranges and weights from the pictures' rewards; prints the policy's folder.

    \b
    Examples:
      dfprompt train ppo --recipe recipes/mini-ppo.toml --set data.folder=data --output run
      dfprompt train ppo --recipe recipes/mini-ppo.toml --set train=words \\
        --set rollout.control_draws=1 --output words-only
      dfprompt train ppo --resume --output run
    """
    _reinforce("ppo", recipe, changes, output, resume, force, allow_code, as_json)


@app.command("grpo")
def grpo(
    recipe: Path | None = _RECIPE,
    changes: list[str] = _SET,
    output: Path | None = _OUTPUT,
    resume: bool = _RESUME,
    force: bool = _FORCE,
    allow_code: bool = _ALLOW_CODE,
    as_json: bool = _JSON,
) -> None:
    """Stage 2 by GRPO: compare rewrites of one prompt on one noise; prints the policy's folder.

    \b
    Examples:
      dfprompt train grpo --recipe recipes/mini-grpo.toml --set data.folder=data --output run
      dfprompt train grpo --recipe recipes/mini-grpo.toml --set group.keep_plain=true
      dfprompt train grpo --resume --output run
    """
    _reinforce("grpo", recipe, changes, output, resume, force, allow_code, as_json)


def _reinforce(
    algorithm: Literal["ppo", "grpo"],
    recipe: Path | None,
    changes: list[str],
    output: Path | None,
    resume: bool,
    force: bool,
    allow_code: bool,
    as_json: bool,
) -> None:
    from dfprompt.api.reinforcement import run_reinforcement

    with TrainingBar(algorithm, _RL_FIGURES) as bar:
        result, drawn = run_reinforcement(
            algorithm,
            recipe,
            changes,
            output=output,
            resume=resume,
            force=force,
            allow_code=allow_code,
            report=bar.show,
        )
    policy = result.folder / "policy"
    if as_json:
        console.write_json(
            {
                "policy": str(policy),
                "steps": result.steps,
                "best_step": result.best_step,
                "validation_reward": result.validation_reward,
                **drawn,
            }
        )
    else:
        console.write_result(str(policy))
        console.note(f"{drawn['pictures']} pictures; sharing spared {drawn['evaluations_saved']} evaluations")
