"""`dfprompt evaluate`: methods on many prompts, with tables that carry intervals."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer

from dfprompt.cli import console
from dfprompt.cli.render_flags import RenderFlags, with_flags
from dfprompt.errors import InputError

_MOST_SEEDS = 10_000
_METHODS = (
    "plain, suffix, suffix-controls, random, starter, human, sft, policy, stripped, shuffled, constant, "
    "best-of-N, NAME=FILE.jsonl, NAME=POLICY_FOLDER; stripped:NAME and best-of-N:NAME take another method's "
    "words."
)


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("evaluate")(evaluate)


@with_flags
def evaluate(
    prompts: str = typer.Option(
        ..., "--prompts", metavar="FILE", help="Plain prompts, one per line or JSON lines, or mini."
    ),
    methods: list[str] = typer.Option(
        ["plain"], "--methods", metavar="A,B,C", help=f"What to compare: {_METHODS}"
    ),
    output: Path = typer.Option(
        ..., "--output", metavar="DIR", help="Where to write; the same folder again goes on."
    ),
    flags: RenderFlags = None,  # type: ignore[assignment]
    policy: str | None = typer.Option(
        None, "--policy", metavar="P", help="The method policy: mini (the default with mini), or a folder."
    ),
    seed: int = typer.Option(0, "--seed", metavar="S", help="The first seed."),
    seeds: int = typer.Option(4, "--seeds", metavar="K", help="Pictures per prompt: seeds S to S+K-1."),
    count: int = typer.Option(100, "--count", metavar="N", help="How many prompts --prompts mini makes."),
    rewards: list[str] = typer.Option(
        [], "--rewards", metavar="R,R", help="Scores, named as for --reward; best-of-N chooses by the first."
    ),
    judges: list[str] = typer.Option(
        [], "--judges", metavar="J,J", help="Scores that nothing was optimised for; mini: its own judge."
    ),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting of the rewards; repeatable."
    ),
    allow_code: bool = typer.Option(False, "--allow-code", help="Let a recipe import Python code."),
    suffix: str | None = typer.Option(
        None,
        "--suffix",
        metavar="DFPROMPT",
        help="The fixed suffix of the method suffix, instead of the one found.",
    ),
    lexicon: Path | None = typer.Option(
        None, "--lexicon", metavar="FILE", help="Modifiers for the method random, one per line."
    ),
    constant: str | None = typer.Option(
        None,
        "--constant",
        metavar="RANGE:WEIGHT",
        help="The one control of the method constant, as late:1.25.",
    ),
    validation: Path | None = typer.Option(
        None, "--validation", metavar="FILE", help="Prompts to find suffix and constant on; mini has its own."
    ),
    validation_images: int = typer.Option(
        360, "--validation-images", metavar="N", min=0, help="Pictures of each such search; 0: none."
    ),
    reference: Path | None = typer.Option(
        None, "--reference", metavar="DIR", help="Pictures to measure each method's distance (CMMD) to."
    ),
    embedder: str | None = typer.Option(
        None, "--embedder", metavar="DIR", help="The CLIP model of CMMD: a folder, or mini."
    ),
    retry_failed: bool = typer.Option(
        False, "--retry-failed", help="Make rows again in which something failed."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Compare methods on the same prompts and the same noise; prints the tables.

    \b
    Examples:
      dfprompt evaluate --prompts mini --methods plain,suffix,random,policy,stripped --output out
      dfprompt evaluate --prompts p.jsonl --methods suffix,a=their.jsonl --pipeline models/sd15 --output out
      dfprompt evaluate --prompts p.txt --methods suffix,best-of-4 --rewards clip --judges hps --output out
    """
    if not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds counts pictures per prompt, 1 to {_MOST_SEEDS}, not {seeds}")
    settings, words = flags.settings(), _lines(lexicon)
    from dfprompt.api import evaluation
    from dfprompt.pipeline.progress import reporting

    with reporting(True, "rows") as report:
        run = evaluation.evaluate(
            prompts,
            _split(methods),
            output,
            seeds=range(seed, seed + seeds),
            pipeline=flags.load(),
            policy=policy,
            rewards=_split(rewards),
            judges=_split(judges),
            count=count,
            settings=settings,
            negative_prompt=flags.negative,
            suffix=suffix,
            lexicon=words,
            constant=constant,
            validation=validation,
            validation_images=validation_images,
            reference=reference,
            embedder=embedder,
            retry_failed=retry_failed,
            device=flags.device,
            dtype=flags.dtype,
            allow_code=allow_code,
            assignments=changes,
            progress=report,
        )
    if as_json:
        console.write_json(run.to_json())
    else:
        console.write(run.to_markdown())
        for path in run.tables:
            console.write(f"written: {path}")
    if run.summary.failures:
        failed = ", ".join(f"{each.method}: {each.what} ({each.rows} rows)" for each in run.summary.failures)
        console.note(f"failed: {failed}; --retry-failed makes those rows again")
        raise typer.Exit(1)


def _split(values: Sequence[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _lines(source: Path | None) -> list[str] | None:
    if source is None:
        return None
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {source}: {error}") from error
    return [line.strip() for line in lines if line.strip()]
