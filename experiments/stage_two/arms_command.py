"""The command `arms`: the whole stage 2 experiment from one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console

if TYPE_CHECKING:
    from dfprompt.api.evaluation import EvaluationRun


def register(app: typer.Typer) -> None:
    """Put the command on the group of trainings."""
    app.command("arms")(arms)


def arms(
    output: Path = typer.Option(..., "--output", metavar="DIR", help="Where everything of it lies."),
    only: list[str] = typer.Option(
        [],
        "--arm",
        metavar="NAME",
        help="ppo, frozen, placebo, grpo, grpo-frozen, heads, compared, one-draw, token or hack; "
        "default: all.",
    ),
    source: str = typer.Option("mini", "--source", help="What is curated, as `dfprompt curate` takes it."),
    pipeline: str = typer.Option("mini", "--pipeline", metavar="X", help="What the evaluation draws with."),
    prompts: str = typer.Option("mini", "--prompts", metavar="FILE", help="Held-out prompts of it."),
    count: int = typer.Option(100, "--count", min=1, help="How many of mini's held-out prompts."),
    seeds: int = typer.Option(4, "--seeds", metavar="K", min=1, help="Pictures per prompt and method."),
    close: int = typer.Option(
        0,
        "--close",
        metavar="K",
        min=0,
        help="Also evaluate plain and the arms of three seeds alone with K pictures per prompt.",
    ),
    search_images: int = typer.Option(
        360,
        "--search-images",
        metavar="N",
        min=1,
        help="Pictures of each search for a baseline: suffix, its controls, single controls.",
    ),
    rewards: list[str] = typer.Option([], "--reward", help="Scores of the evaluation; default: mini's."),
    judges: list[str] = typer.Option([], "--judge", help="Its judges, never trained on; default: mini's."),
    recipes: Path = typer.Option(
        Path("recipes"), "--recipes", metavar="DIR", help="Where NAME-curate, -sft, -ppo, -grpo.toml lie."
    ),
    prefix: str = typer.Option("mini", "--prefix", metavar="NAME", help="Which of the recipes there."),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting of every stage 2 recipe; repeatable."
    ),
    processes: int = typer.Option(
        1, "--processes", metavar="N", min=1, help="Runs of stage 2 that train side by side; evaluations too."
    ),
    evaluation: bool = typer.Option(
        True, "--evaluate/--no-evaluate", help="Evaluate all that is trained, at the end."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Curate, train stage 1 and every arm of stage 2, evaluate all beside the baselines; prints the table.

    What is done is not done again: the same command goes on where it was stopped, and new arms join.

    \b
    Examples:
      python -m experiments.stage_two arms --output experiment
      python -m experiments.stage_two arms --output experiment --arm ppo --arm frozen --no-evaluate
      python -m experiments.stage_two arms --output experiment --processes 2 --count 200 --seeds 8 --close 20
    """
    from dfprompt.evaluation.files import write_text
    from experiments.stage_two.arms import choose_arms
    from experiments.stage_two.experiment import (
        Recipes,
        draw_side_by_side,
        evaluate_arms,
        evaluate_closely,
        find_recipes,
        run_arms,
    )

    chosen = choose_arms(tuple(only))
    files = find_recipes(recipes, prefix, ("curate", "sft", "ppo", "grpo"))
    asked_for = Recipes(source, **files, changes=tuple(changes))
    policies = run_arms(asked_for, output, chosen, console.note, processes=processes)
    answer: dict[str, object] = {"policies": {name: str(path) for name, path in policies.items()}}
    if evaluation:
        asked: dict[str, Any] = {
            "prompts": prompts,
            "count": count,
            "pipeline": pipeline,
            "rewards": rewards,
            "judges": judges,
        }
        broad = {**asked, "seeds": range(seeds), "search_images": search_images}
        folder, closely = output / "evaluation", output / "evaluation-close"
        if close and processes > 1:
            draw_side_by_side(policies, folder, closely, broad, close, console.note)
        run = evaluate_arms(policies, folder, **broad, note=console.note)
        table = _tables(run)
        if close:
            closer = evaluate_closely(policies, closely, seeds=range(close), **asked, note=console.note)
            table += f"\n{close} pictures per prompt:\n\n{_tables(closer)}"
        write_text(output / "table.md", table)
        answer |= {**run.to_json(), "table": str(output / "table.md")}
    if as_json:
        console.write_json(answer)
    elif evaluation:
        console.write(run.to_markdown())
        console.write(table)
    else:
        for name, path in policies.items():
            console.write(f"{name}\t{path}")


def _tables(run: EvaluationRun) -> str:
    from experiments.stage_two.contrasts import find_contrasts, format_contrasts
    from experiments.stage_two.overview import format_overview

    scores = [line.score for line in run.summary.scores if line.role in ("reward", "judge")]
    contrasts = find_contrasts(run.outcome.rows, list(dict.fromkeys(scores)))
    return f"{format_overview(run.summary, note=run.note)}\n{format_contrasts(contrasts)}"
