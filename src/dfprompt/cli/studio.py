"""`dfprompt studio`: prompts edited, drawn and kept in a browser."""

from __future__ import annotations

import importlib.util

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import takes
from dfprompt.errors import InputError
from dfprompt.requests.studio import StudioRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("studio")(studio)


@takes(StudioRequest)
def studio(request: StudioRequest) -> None:
    """Open the studio in a browser: write, see when words act, draw, compare and keep.

    It listens on this machine alone and needs no network.

    \b
    Examples:
      dfprompt studio
      dfprompt studio --pipeline models/sd15 --output my-pictures
      dfprompt studio --port 8700 --no-browser
    """
    check(request)
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise InputError(f"the studio needs {' and '.join(missing)}: pip install 'dfprompt[studio]'")
    from dfprompt.web.app import run_studio

    run_studio(request, lambda line: console.write(f"studio: {line}" if line.startswith("http") else line))
