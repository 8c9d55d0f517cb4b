"""`dfprompt ablate`: when modifiers act, how strongly, and what each one of a written prompt brings."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console, moved
from dfprompt.cli.commands import WholeGroup
from dfprompt.cli.evaluate import name_failures
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.evaluate import AblateModifiersRequest, AttributionRequest

if TYPE_CHECKING:
    from dfprompt.api.ablations import AblationRun

app = typer.Typer(
    name="ablate",
    help="Experiments of one command each, with a table, a plot and every picture kept.",
    cls=WholeGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
    parent.add_typer(app, name="ablate")


@app.command("range")
@takes(AblateModifiersRequest)
def ablate_range(request: AblateModifiersRequest, as_json: bool = JSON) -> None:
    """When modifiers act: first or last half, first or last 15 %, all; against plain on the same noise.

    Draws with 20 steps unless --steps says otherwise.

    \b
    Examples:
      dfprompt ablate range --prompts mini --output ranges
      dfprompt ablate range --prompts p.txt --modifiers "film grain" --pipeline models/sd15 \\
        --reward pickscore --judge clip --output ranges
    """
    check(request)
    from dfprompt.api.ablations import ablate_ranges

    _run(lambda report: ablate_ranges(request, progress=report), as_json=as_json)


@app.command("weight")
@takes(AblateModifiersRequest)
def ablate_weight(request: AblateModifiersRequest, as_json: bool = JSON) -> None:
    """How strongly modifiers act: weights 0.5 to 1.5 over the full range; the reward against the judge.

    \b
    Examples:
      dfprompt ablate weight --prompts mini --output weights
      dfprompt ablate weight --prompts p.txt --modifiers "film grain" --pipeline models/sd15 \\
        --reward pickscore --judge clip --output weights
    """
    check(request)
    from dfprompt.api.ablations import ablate_weights

    _run(lambda report: ablate_weights(request, progress=report), as_json=as_json)


@app.command("attribution")
@takes(AttributionRequest)
def ablate_attribution(request: AttributionRequest, as_json: bool = JSON) -> None:
    """What each modifier of a DF-Prompt brings to each score, and its range, and its weight.

    The prompt is drawn beside itself without one modifier, with its range full, with its weight 1. Pruned is
    every modifier whose mean effect on the first reward (the written prompt minus the same without it, over
    the seeds) is below 0; what is left is measured once more, on K fresh seeds.

    \b
    Examples:
      dfprompt ablate attribution "a red cat on a hill, [glossy:late:1.25], [golden hour:late]" --output out
      dfprompt ablate attribution "a cat, [snow:early], [mist::0.75]" --pipeline models/sd15 \\
        --reward pickscore --judge clip --output out
    """
    check(request)
    from dfprompt.api.ablations import attribute_modifiers

    _run(lambda report: attribute_modifiers(request, progress=report), as_json=as_json)


moved.register(app, "reward", "dfprompt ablate reward", "experiments.stage_two reward")


def _run(experiment: Callable[[Any], AblationRun], *, as_json: bool) -> None:
    """Run with a bar, print; exits with 1 where something failed."""
    from dfprompt.pipeline.progress import reporting

    with reporting(True, "rows") as report:
        run = experiment(report)
    if as_json:
        console.write_json(run.to_json())
    else:
        console.write(run.page)
        for path in run.files:
            console.write(f"written: {path}")
    name_failures(run.failures)
