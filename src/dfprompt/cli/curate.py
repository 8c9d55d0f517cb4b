"""`dfprompt curate`: prompts that people wrote to a data set for stage 1."""

from __future__ import annotations

import typer

from dfprompt.api.checks import check
from dfprompt.api.costs import estimate_curation
from dfprompt.cli import console
from dfprompt.cli.costs import TimeLeft, tell
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.learn import CurateRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("curate")(curate)


@takes(CurateRequest)
def curate(request: CurateRequest, as_json: bool = JSON) -> None:
    """Clean prompts, keep those whose modifiers improve the picture, and divide them; prints what was done.

    No row is lost: removed ones are in removed.jsonl with the reason, rejected ones train to end at once.

    \b
    Examples:
      dfprompt curate mini --recipe mini-curate --output data
      dfprompt curate prompts.csv --no-images --output data
      dfprompt curate prompts.jsonl --pipeline models/sd15 --output data
      dfprompt curate prompts.jsonl --pipeline models/sd15 --output data --resume
    """
    check(request)
    if request.estimate:
        tell(lambda: estimate_curation(request), asked=True, as_json=as_json)
        return
    from dfprompt.api.curation import run_curation

    folder, report = run_curation(
        request.source,
        request.recipe,
        request.changes,
        output=request.output,
        resume=request.resume,
        force=request.force,
        device=request.device,
        dtype=request.dtype,
        allow_code=request.allow_code,
        shard=request.shard,
        progress=TimeLeft("prompts drawn and scored"),
    )
    if as_json:
        console.write_json({"output": str(folder), **report.to_json()})
    else:
        console.write(report.summary())
        console.note(f"written: {folder}")
