"""`dfprompt generate`: DF-Prompts to pictures."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dfprompt.cli import console
from dfprompt.cli.render_flags import RenderFlags, with_flags
from dfprompt.errors import DFPromptWarning, InputError

if TYPE_CHECKING:
    from dfprompt.api.gallery import Gallery
    from dfprompt.pipeline.image_pipeline import ImagePipeline

_MOST_SEEDS = 10_000


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("generate")(generate)


@with_flags
def generate(
    text: list[str] = typer.Argument(
        ..., metavar="TEXT...", help="DF-Prompts; - reads one per line and answers in JSON lines."
    ),
    flags: RenderFlags = None,  # type: ignore[assignment]
    seed: int = typer.Option(0, "--seed", metavar="S", help="The first seed."),
    seeds: int = typer.Option(1, "--seeds", metavar="K", help="Pictures per prompt: seeds S to S+K-1."),
    dialect: str = typer.Option(
        "native", "--dialect", help="How TEXT is written: native, a1111, comfyui, compel, pae."
    ),
    plain: bool = typer.Option(False, "--plain", help="Take every character as words; nothing is control."),
    strict: bool = typer.Option(False, "--strict", help="Make warnings about other tools' control errors."),
    share: bool = typer.Option(False, "--share", help="Compute what pictures have in common only once."),
    output: Path | None = typer.Option(
        None, "--output", metavar="DIR", help="Where to write; default: dfprompt-out/<date>-<words>."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite pictures that exist."),
    no_metadata: bool = typer.Option(False, "--no-metadata", help="Write no recipe into the pictures."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Draw DF-Prompts with any pipeline, one picture per prompt and seed; prints the files.

    \b
    Examples:
      dfprompt generate "a red cat on a hill, [watercolor:late]" --seeds 4
      dfprompt generate "a red horse, [anime style:early:1.5]" --pipeline models/sd15 --steps 10
      dfprompt generate "a castle" "a castle, [fog:1->0.7]" --seed 7 --share --output castle
    """
    if not 1 <= seeds <= _MOST_SEEDS:
        raise InputError(f"--seeds counts pictures per prompt, 1 to {_MOST_SEEDS}, not {seeds}")
    numbers = range(seed, seed + seeds)
    settings = flags.settings()
    options = {"share": share, "metadata": not no_metadata, "force": force, "progress": True}

    def draw(pipeline: ImagePipeline, texts: Sequence[str], folder: Path, number: int | None) -> Gallery:
        from dfprompt.api.gallery import draw_gallery
        from dfprompt.conditioning.prompts import Dialect

        request = pipeline.read(
            [text for text in texts for _ in numbers],
            [number for _ in texts for number in numbers],
            settings,
            negative_prompt=flags.negative,
            dialect=Dialect(dialect, plain, strict),
        )
        return draw_gallery(pipeline, request, folder, number=number, **options)

    if text == ["-"]:
        _answer_lines(flags, output, draw)
        return
    _check_prompts(text, dialect, plain)
    from dfprompt.api.gallery import choose_folder

    gallery = draw(flags.load(), text, choose_folder(output, text[0]), None)
    if as_json:
        console.write_json(gallery.to_json())
        return
    for path in [*gallery.files, *([gallery.grid] if gallery.grid else [])]:
        console.write_result(str(path))


def _check_prompts(texts: Sequence[str], dialect: str, plain: bool) -> None:
    """Refuse what is no prompt before the pipeline is loaded; other dialects may need its steps."""
    from dfprompt.prompt.reading import NATIVE, read_prompt

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)  # said when the prompt is read for drawing
        for text in texts if dialect == NATIVE else ():
            read_prompt(text, plain=plain)


def _answer_lines(flags: RenderFlags, output: Path | None, draw: Callable[..., Gallery]) -> None:
    """Draw each line of stdin by itself into one folder, answering with one line of JSON."""
    from dfprompt.api.gallery import choose_folder

    pipeline = flags.load()
    folder = choose_folder(output, "stdin")
    numbers = itertools.count(1)
    console.for_each_line(lambda line: draw(pipeline, [line], folder, next(numbers)).to_json())
