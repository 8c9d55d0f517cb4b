"""`dfprompt serve`: pictures for programs, in the form that image clients have in common."""

from __future__ import annotations

import importlib.util

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import InputError
from dfprompt.requests.serve import ServeRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("serve")(serve)


@takes(ServeRequest)
def serve(request: ServeRequest, as_json: bool = JSON) -> None:
    """Draw for other programs: POST /v1/images/generations, the common form, on this machine alone.

    A prompt may be a DF-Prompt; "rewrite": true lets the policy add words, and revised_prompt says which.
    Clients send the token as Authorization: Bearer, and are answered in the order they ask.

    \b
    Examples:
      dfprompt serve --token-file token.txt
      dfprompt serve --pipeline models/sd15 --port 8700 --rewrite
      curl -H "Authorization: Bearer $(cat token.txt)" -d '{"prompt": "a red house"}' \\
        http://127.0.0.1:8601/v1/images/generations
    """
    check(request)
    if missing := [name for name in ("starlette", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise InputError(f"serving needs {' and '.join(missing)}: pip install 'dfprompt[studio]'")
    from dfprompt.web.generations import run_generations

    def say(address: str, token: str) -> None:
        if as_json:
            console.write_json({"url": address, "token": token})
            return
        console.write(f"serving: {address}")
        console.write(f"token: {token}" if request.token_file is None else f"token in {request.token_file}")

    run_generations(request, say)
