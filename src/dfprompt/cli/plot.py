"""`dfprompt plot`: the learning curves of a training."""

from __future__ import annotations

import typer

from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.learn import PlotRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("plot")(plot)


@takes(PlotRequest)
def plot(request: PlotRequest, as_json: bool = JSON) -> None:
    """Draw the learning curves of a training, also of one that is still going on.

    \b
    Examples:
      dfprompt plot runs/mini
      dfprompt plot runs/mini --output pictures
    """
    from dfprompt.api.training_plots import plot_training

    files = plot_training(request.run, output=request.output, force=request.force)
    if as_json:
        console.write_json({"files": [str(file) for file in files]})
    for file in () if as_json else files:
        console.write_result(str(file))
