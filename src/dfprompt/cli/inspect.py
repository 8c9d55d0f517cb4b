"""`dfprompt inspect`: the recipe in a picture, and the picture drawn again from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dfprompt.cli import console
from dfprompt.cli.render_flags import LoadFlags, with_flags
from dfprompt.errors import InputError
from dfprompt.excerpt import printable

if TYPE_CHECKING:
    from dfprompt.images.recipe import ModelMark, Recipe
    from dfprompt.pipeline.image_pipeline import Pictures


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("inspect")(inspect)


@with_flags
def inspect(
    file: Path = typer.Argument(..., metavar="FILE", help="A picture drawn by dfprompt."),
    pipeline: str = typer.Option(
        "", "--pipeline", metavar="X", help="Draw it again with this pipeline, and compare."
    ),
    flags: LoadFlags = None,  # type: ignore[assignment]
    output: Path | None = typer.Option(
        None, "--output", metavar="FILE", help="Where to write the picture that was drawn again."
    ),
    force: bool = typer.Option(False, "--force", help="Overwrite the output file if it exists."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Show how a picture was drawn; with --pipeline, draw it again and say how near the two are.

    \b
    Examples:
      dfprompt inspect picture.png
      dfprompt inspect picture.png --json
      dfprompt inspect picture.png --pipeline mini --output again.png
    """
    from dfprompt.api.recreation import read_recipe, recreate_picture

    if output is not None and not pipeline:
        raise InputError("--output is for the picture drawn again; name what draws it with --pipeline")
    if output is not None and output.exists() and not force:
        raise InputError(f"{output} exists already; choose another name or add --force")
    recipe = read_recipe(file)
    shown = {"file": str(file), "recipe": json.loads(recipe.to_json_text())}
    if not as_json:
        _print_recipe(recipe)
    if pipeline:
        again = recreate_picture(file, flags.load_from(pipeline), progress=True)
        if output is not None:
            _write(output, again.pictures, force=force)
        shown["recreation"] = again.to_json()
        for remark in again.remarks:
            console.note(f"note: {remark}")
        if not as_json:
            console.write(again.summary())
    if as_json:
        console.write_json(shown)


def _print_recipe(recipe: Recipe) -> None:
    rows = {"prompt": recipe.prompt, "DF-Prompt": recipe.df_prompt}
    if recipe.negative_prompt is not None:
        rows["negative"] = recipe.negative_prompt
    rows |= {"seed": str(recipe.seed), "model": _mark(recipe.model)}
    rows |= {"VAE": _mark(recipe.vae)} if recipe.vae else {}
    rows |= {"LoRA": ", ".join(map(_mark, recipe.loras))} if recipe.loras else {}
    rows |= {"policy": _mark(recipe.policy)} if recipe.policy else {}
    rows |= {name: str(value) for name, value in recipe.settings.items()}
    rows |= {f"score {name}": f"{value:.4f}" for name, value in recipe.scores.items()}
    rows |= {"drawn by": f"dfprompt {recipe.version}".strip()}
    width = max(map(len, rows))
    ascii_only = not console.prints_unicode(sys.stdout)
    for name, value in rows.items():
        console.write(printable(f"{name:{width}}  {value}", ascii_only=ascii_only))


def _mark(mark: ModelMark) -> str:
    details = [mark.family, mark.hash, f"at {mark.scale:g}" if mark.scale is not None else None]
    known = ", ".join(detail for detail in details if detail)
    return f"{mark.name} ({known})" if known else mark.name


def _write(output: Path, pictures: Pictures, *, force: bool) -> None:
    from dfprompt.images.saving import Entry, save_pictures
    from dfprompt.images.tensors import to_pil

    save_pictures([Entry(output, to_pil(pictures.images)[0], pictures.recipes()[0])], force=force)
