"""`dfprompt serve-reward`: a reward behind an address."""

from __future__ import annotations

import typer

from dfprompt.cli import console
from dfprompt.cli.options import takes
from dfprompt.requests.score import ServeRewardRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("serve-reward")(serve_reward)


@takes(ServeRewardRequest)
def serve_reward(request: ServeRewardRequest) -> None:
    """Serve a reward or judge over HTTP until it is stopped; prints its address.

    \b
    Examples:
      dfprompt serve-reward reward.toml --token-file token.txt
      dfprompt evaluate --judge http://127.0.0.1:8642/ --set remote.token_file=token.txt ...
      dfprompt serve-reward pickscore --host 10.0.0.5 --listen --token-file token.txt
    """
    from dfprompt.api.reward_server import open_reward_server

    with open_reward_server(request) as server:
        console.write(server.url)
        console.note(f"serving {server.service.score.name}; stop with Ctrl-C")
        server.serve_forever()
