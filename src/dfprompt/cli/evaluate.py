"""`dfprompt evaluate`: methods on many prompts, with tables that carry intervals."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import typer

from dfprompt.api.checks import check
from dfprompt.api.costs import estimate_evaluation
from dfprompt.cli import console
from dfprompt.cli.costs import TimeLeft, tell
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.evaluate import EvaluateRequest

if TYPE_CHECKING:
    from dfprompt.evaluation.summary import Failure


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("evaluate")(evaluate)


@takes(EvaluateRequest)
def evaluate(request: EvaluateRequest, as_json: bool = JSON) -> None:
    """Compare methods on the same prompts and the same noise; prints the tables.

    \b
    Examples:
      dfprompt evaluate --prompts mini --methods plain,suffix,random,policy,stripped --output out
      dfprompt evaluate --prompts p.jsonl --methods suffix,a=their.jsonl --pipeline models/sd15 --output out
      dfprompt evaluate --prompts p.txt --methods suffix,best-of-4 --reward clip --judge hps --output out
    """
    check(request)
    if tell(lambda: estimate_evaluation(request), asked=request.estimate, as_json=as_json):
        return
    from dfprompt.api import evaluation
    from dfprompt.pipeline.progress import reporting

    left = TimeLeft("rows")
    with reporting(True, "rows") as report:

        def progress(done: int, total: int) -> None:
            report(done, total)
            left(done, total)

        run = evaluation.evaluate(request, progress=progress)
    if as_json:
        console.write_json(run.to_json())
    else:
        console.write(run.to_markdown())
        for path in run.tables:
            console.write(f"written: {path}")
    name_failures(run.summary.failures)


def name_failures(failures: Iterable[Failure]) -> None:
    """Say what failed and how to make it again; exits with 1 if anything did."""
    failed = ", ".join(f"{each.method}: {each.what} ({each.rows} rows)" for each in failures)
    if failed:
        console.note(f"failed: {failed}; --retry-failed makes those rows again")
        raise typer.Exit(1)
