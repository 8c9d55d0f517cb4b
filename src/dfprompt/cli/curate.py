"""`dfprompt curate`: prompts that people wrote to a data set for stage 1."""

from __future__ import annotations

from pathlib import Path

import typer

from dfprompt.cli import console


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("curate")(curate)


def curate(
    source: str = typer.Argument(
        ...,
        metavar="SOURCE",
        help="A .jsonl, .csv, .tsv, .parquet, .txt or .npy file, a folder of pictures, a hub id, or mini.",
    ),
    recipe: Path | None = typer.Option(None, "--recipe", metavar="R.toml", help="What is kept, and how."),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting, as confidence.sigma=0.6; repeatable."
    ),
    output: Path | None = typer.Option(
        None, "--output", metavar="DATA", help="Where to write; default: dfprompt-out/<date>-<source>."
    ),
    pipeline: str | None = typer.Option(
        None,
        "--pipeline",
        metavar="X",
        help="What draws pictures that rows do not bring; needed for all sources but mini.",
    ),
    no_images: bool = typer.Option(
        False, "--no-images", help="Clean the text only: nothing is drawn or scored, every clean row is kept."
    ),
    device: str = typer.Option("auto", "--device", metavar="D", help="auto, cpu, cuda or mps."),
    dtype: str = typer.Option("auto", "--dtype", metavar="T", help="auto, float32, float16 or bfloat16."),
    allow_code: bool = typer.Option(False, "--allow-code", help="Let a recipe import Python code."),
    resume: bool = typer.Option(False, "--resume", help="Go on: what was measured is not measured again."),
    force: bool = typer.Option(False, "--force", help="Begin anew where --output holds a data set."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Clean prompts, keep those whose modifiers improve the picture, and divide them; prints what was done.

    No row is lost: removed ones are in removed.jsonl with the reason, rejected ones train to end at once.

    \b
    Examples:
      dfprompt curate mini --recipe recipes/mini-curate.toml --output data
      dfprompt curate prompts.csv --no-images --output data
      dfprompt curate prompts.jsonl --pipeline models/sd15 --output data
      dfprompt curate prompts.jsonl --pipeline models/sd15 --output data --resume
    """
    from dfprompt.api.curation import run_curation

    settings = [*changes]
    if pipeline is not None:
        settings.append(f"confidence.pipeline={pipeline}")
    if no_images:
        settings.append("confidence.enabled=false")
    folder, report = run_curation(
        source,
        recipe,
        settings,
        output=output,
        resume=resume,
        force=force,
        device=device,
        dtype=dtype,
        allow_code=allow_code,
        progress=_show_progress,
    )
    if as_json:
        console.write_json({"output": str(folder), **report.to_json()})
    else:
        console.write(report.summary())
        console.note(f"written: {folder}")


def _show_progress(done: int, total: int) -> None:
    console.note(f"{done} of {total} prompts drawn and scored")
