"""`dfprompt judge-check`: how often judges agree with choices."""

from __future__ import annotations

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.score import JudgeCheckRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("judge-check")(judge_check)


@takes(JudgeCheckRequest)
def judge_check(request: JudgeCheckRequest, as_json: bool = JSON) -> None:
    """Say how often judges agree with people's (or any) choices between two pictures.

    \b
    Examples:
      dfprompt judge-check --pairs pairs.jsonl --judge hps --judge pickscore --output checked
      dfprompt evaluate --prompts p.txt --judge hps --checks checked/judge-check.json --output out
    """
    check(request)
    from dfprompt.api.judge_check import check_judges

    run = check_judges(request)
    if as_json:
        console.write_json(run.to_json())
        return
    console.write(run.to_markdown())
    for path in run.files:
        console.write(f"written: {path}")
