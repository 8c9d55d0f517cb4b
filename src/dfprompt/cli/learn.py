"""`dfprompt learn`: a policy from a folder of searches."""

from __future__ import annotations

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.learn import LearnRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("learn")(learn)


@takes(LearnRequest)
def learn(request: LearnRequest, as_json: bool = JSON) -> None:
    """Make a policy of what `tune` and `evaluate` have drawn with your pipeline; nothing is drawn or trained.

    \b
    Examples:
      dfprompt learn dfprompt-out --output my-policy
      dfprompt tune "a castle by the sea" --pipeline models/sd15 --policy my-policy
      dfprompt compare "a castle by the sea" --pipeline models/sd15 --policy my-policy
    """
    check(request)
    from dfprompt.api.learning import learn_policy

    run = learn_policy(request)
    if as_json:
        console.write_json(run.to_json())
        return
    for span, gain in run.best_words():
        console.write(f"{gain:+.3g}\t{span}")
    console.write(f"learnt from {run.pictures} pictures of {len(run.prompts)} prompts, by {run.reward}")
    for reason, count in run.left_out.items():
        console.note(f"{count} pictures left out: {reason}")
    console.write(f"policy: {run.folder}")
