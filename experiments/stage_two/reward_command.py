"""The command `reward`: stage 2 on parts of the reward and other constants, a training per point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from dfprompt.cli import console
from dfprompt.errors import ConfigError, InputError


def register(app: typer.Typer) -> None:
    """Put the command on the group of ablations."""
    app.command("reward")(reward)


def reward(
    output: Path = typer.Option(
        ..., "--output", metavar="DIR", help="Where everything lies; a folder of `arms` lends its data."
    ),
    only: list[str] = typer.Option(
        [],
        "--points",
        metavar="P,P",
        help="terms, a, b, zeta, kappa, sigma, gamma; default: all of them.",
    ),
    sweeps: list[str] = typer.Option(
        [], "--sweep", metavar="KNOB=V,V", help="Values of a knob, in place of the usual two; repeatable."
    ),
    source: str = typer.Option("mini", "--source", help="What is curated, as `dfprompt curate` takes it."),
    pipeline: str = typer.Option("mini", "--pipeline", metavar="X", help="What the evaluation draws with."),
    prompts: str = typer.Option("mini", "--prompts", metavar="FILE", help="Held-out prompts of it."),
    count: int = typer.Option(48, "--count", min=1, help="How many of mini's held-out prompts."),
    seeds: int = typer.Option(4, "--seeds", metavar="K", min=1, help="Pictures per prompt and point."),
    rewards: list[str] = typer.Option([], "--reward", help="Scores of the evaluation; default: mini's."),
    judges: list[str] = typer.Option([], "--judge", help="Its judges, never trained on; default: mini's."),
    recipes: Path = typer.Option(
        Path("recipes"), "--recipes", metavar="DIR", help="Where NAME-curate, -sft and -ppo.toml lie."
    ),
    prefix: str = typer.Option("mini", "--prefix", metavar="NAME", help="Which of the recipes there."),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting of every stage 2 recipe; repeatable."
    ),
    dry_run: bool = typer.Option(False, "--dry-run", help="Print the points and train nothing."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """What the reward is made of: PPO with single terms, and with other constants, judged side by side.

    Trains one seed per point: the aesthetic, CLIP and preference terms alone; a, b, zeta and kappa of the
    reward; sigma and gamma of the filter that made stage 1's data. What is done is not done again.

    \b
    Examples:
      python -m experiments.stage_two reward --output experiment --dry-run
      python -m experiments.stage_two reward --output experiment --points terms --set optimizer.steps=24
      python -m experiments.stage_two reward --output experiment --sweep zeta=0.3,0.5,0.7 --seeds 8
    """
    from experiments.stage_two.experiment import Recipes, find_recipes
    from experiments.stage_two.reward_ablation import ablate_reward, choose_points

    if output.is_file():
        raise InputError(f"{output} is a file; name a folder")
    files = find_recipes(recipes, prefix, ("curate", "sft", "ppo"))
    chosen = Recipes(source, **files, grpo=None, changes=tuple(changes))
    names = [part.strip() for each in only for part in each.split(",") if part.strip()]
    points = choose_points(chosen, dict(map(_sweep, sweeps)), names)
    if dry_run:
        listed = [{"name": each.name, "says": each.says} for each in points]
        if as_json:
            console.write_json({"points": listed})
        else:
            for each in points:
                console.write(f"{each.name}\t{each.says}")
        return
    found = ablate_reward(
        chosen,
        points,
        output,
        prompts=prompts,
        count=count,
        seeds=range(seeds),
        pipeline=pipeline,
        rewards=rewards,
        judges=judges,
        note=console.note,
    )
    if as_json:
        console.write_json(found.to_json())
        return
    console.write(found.page)
    for path in found.files:
        console.write(f"written: {path}")


def _sweep(text: str) -> tuple[str, Sequence[float]]:
    knob, _, values = text.partition("=")
    try:
        numbers = [float(value) for value in values.split(",")]
    except ValueError:
        raise ConfigError(
            f"--sweep takes KNOB=V,V with numbers, zeta=0.3,0.5 for instance, not {text!r}"
        ) from None
    return knob.strip(), numbers
