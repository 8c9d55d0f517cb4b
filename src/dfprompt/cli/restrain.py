"""`dfprompt restrain`: the restraint curve of a policy, measured and kept with it."""

from __future__ import annotations

from pathlib import Path

import typer

from dfprompt.cli import console


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("restrain")(restrain)


def restrain(
    policy: Path = typer.Argument(..., metavar="FOLDER", help="The policy; its policy.json gets the curve."),
    output: Path = typer.Option(
        ..., "--output", metavar="DIR", help="Where the pictures go; the same folder again goes on."
    ),
    prompts: str = typer.Option("mini", "--prompts", metavar="FILE", help="Prompts of validation, or mini."),
    count: int = typer.Option(
        64, "--count", metavar="N", min=6, help="How many prompts --prompts mini makes."
    ),
    seeds: int = typer.Option(2, "--seeds", metavar="K", min=1, help="Pictures per prompt and end bias."),
    pipeline: str = typer.Option("mini", "--pipeline", metavar="X", help="What draws."),
    rewards: list[str] = typer.Option([], "--rewards", metavar="R", help="The first is what is gained."),
    judges: list[str] = typer.Option([], "--judges", metavar="J", help="The first is the fidelity."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Measure how much of a policy's gain is kept as it appends less; `optimize --restraint` then reads it.

    \b
    Examples:
      dfprompt restrain run/policy --output curve
      dfprompt optimize "a red house in the snow" --policy run/policy --restraint 0.1
    """
    from dfprompt.api.restraint import measure_restraint

    curve = measure_restraint(
        policy, output, prompts=prompts, count=count, seeds=range(seeds), pipeline=pipeline,
        rewards=rewards, judges=judges,
    )  # fmt: skip
    if as_json:
        console.write_json({"policy": str(policy), "restraint": curve.to_json(), "kept": curve.kept()})
        return
    console.write("end bias\tgain kept\treward\tfidelity\tleft alone")
    for point, kept in zip(curve.points, curve.kept(), strict=True):
        low, high = point.fidelity_interval
        console.write(
            f"{point.end_bias:g}\t{kept:.0%}\t{point.reward:+.3f}\t{point.fidelity:+.4f} "
            f"({low:+.4f} to {high:+.4f})\t{point.alone:.0%}"
        )
