"""`dfprompt merge`: the parts of a run become one folder."""

from __future__ import annotations

import typer

from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.merge import MergeRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("merge")(merge)


@takes(MergeRequest)
def merge(request: MergeRequest, as_json: bool = JSON) -> None:
    """Put the folders of all parts of one evaluate or curate with --shard together; nothing is drawn.

    \b
    Examples:
      dfprompt evaluate --prompts p.txt --methods plain,policy --shard 1/8 --output out/1
      dfprompt merge out/1 out/2 out/3 out/4 out/5 out/6 out/7 out/8 --output out/whole
      dfprompt evaluate --prompts p.txt --methods plain,policy --output out/whole
    """
    from dfprompt.api.merging import merge_folders

    run = merge_folders(request)
    if as_json:
        console.write_json(run.to_json())
        return
    console.write(f"{run.rows} rows of {run.parts} parts: {run.folder}")
    console.note(run.next)
