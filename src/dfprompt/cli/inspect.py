"""`dfprompt inspect`: the recipe in a picture, and the picture drawn again from it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import ImageFileError
from dfprompt.excerpt import printable
from dfprompt.images.foreign_recipe import ForeignRecipe
from dfprompt.images.metadata import read_any_recipe
from dfprompt.requests.render import LoadRequest
from dfprompt.requests.write import InspectRequest

if TYPE_CHECKING:
    from dfprompt.images.metadata import GenerationMetadata, ModelMark
    from dfprompt.pipeline.image_pipeline import Pictures


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("inspect")(inspect)


@takes(InspectRequest)
def inspect(request: InspectRequest, as_json: bool = JSON) -> None:
    """Show how a picture was drawn; with --pipeline, draw it again and say how near the two are.

    Of pictures of AUTOMATIC1111, Forge and ComfyUI: the prompts, what they are as DF-Prompts, the settings.

    \b
    Examples:
      dfprompt inspect picture.png
      dfprompt inspect picture.png --json
      dfprompt inspect picture.png --pipeline mini --output again.png
    """
    check(request)
    recipe = read_any_recipe(request.file)
    if isinstance(recipe, ForeignRecipe):
        _show_foreign(recipe, request, as_json=as_json)
        return
    shown = {"file": str(request.file), "recipe": json.loads(recipe.to_json_text())}
    if not as_json:
        _print_recipe(recipe)
    if request.pipeline:
        shown["recreation"] = _draw_again(request, as_json=as_json)
    if as_json:
        console.write_json(shown)


def _show_foreign(recipe: ForeignRecipe, request: InspectRequest, *, as_json: bool) -> None:
    if request.pipeline:
        raise ImageFileError(
            f"{request.file}: {recipe.program} drew it, and only dfprompt's own recipes can be drawn again; "
            "give its DF-Prompt and settings to `dfprompt generate`"
        )
    if as_json:
        console.write_json({"file": str(request.file), "other_program": recipe.to_json()})
        return
    rows = {"drawn by": recipe.program, "prompt": recipe.prompt}
    rows |= {"DF-Prompt": str(recipe.df_prompt)} if recipe.df_prompt is not None else {}
    rows |= {"negative": recipe.negative_prompt} if recipe.negative_prompt else {}
    rows |= {name: str(value) for name, value in recipe.settings.items()}
    _print_rows(rows | dict(recipe.others))
    for remark in recipe.remarks:
        console.note(f"note: {remark}")


def _draw_again(request: InspectRequest, *, as_json: bool) -> dict[str, Any]:
    from dfprompt.api.pipelines import load_pipeline
    from dfprompt.api.recreation import recreate_picture

    loading = {name: getattr(request, name) for name in LoadRequest.model_fields}
    again = recreate_picture(request.file, load_pipeline(str(request.pipeline), **loading), progress=True)
    if request.output is not None:
        _write(request.output, again.pictures, force=request.force)
    for remark in again.remarks:
        console.note(f"note: {remark}")
    if not as_json:
        console.write(again.summary())
    return again.to_json()


def _print_recipe(recipe: GenerationMetadata) -> None:
    rows = {"prompt": recipe.prompt, "DF-Prompt": recipe.df_prompt}
    rows |= {"asked": recipe.asked} if recipe.asked is not None else {}
    if recipe.negative_prompt is not None:
        rows["negative"] = recipe.negative_prompt
    rows |= {"seed": str(recipe.seed), "model": _mark(recipe.model)}
    rows |= {"VAE": _mark(recipe.vae)} if recipe.vae else {}
    rows |= {"LoRA": ", ".join(map(_mark, recipe.loras))} if recipe.loras else {}
    rows |= {"policy": _mark(recipe.policy)} if recipe.policy else {}
    rows |= {name: str(value) for name, value in recipe.settings.items()}
    rows |= {f"score {name}": f"{value:.4f}" for name, value in recipe.scores.items()}
    rows |= {"drawn by": f"dfprompt {recipe.version}".strip()}
    _print_rows(rows)


def _print_rows(rows: Mapping[str, str]) -> None:
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
    from dfprompt.storage import tidied

    with tidied(output.parent):
        save_pictures([Entry(output, to_pil(pictures.images)[0], pictures.recipes()[0])], force=force)
