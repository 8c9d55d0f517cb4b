"""`dfprompt train`: stage 1 on filtered prompts."""

from __future__ import annotations

from pathlib import Path

import typer

from dfprompt.cli import console
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

_FIGURES = {"loss": "loss", "validation_loss": "validation", "rows_per_second": "rows/s"}


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
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
                "validation_loss": result.validation_loss,
            }
        )
    else:
        console.write(str(policy))
