"""`dfprompt generate`: DF-Prompts to pictures."""

from __future__ import annotations

import itertools

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.render import GenerateRequest


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("generate")(generate)


@takes(GenerateRequest)
def generate(request: GenerateRequest, as_json: bool = JSON) -> None:
    """Draw DF-Prompts with any pipeline, one picture per prompt and seed; prints the files.

    \b
    Examples:
      dfprompt generate "a red house in the snow, [watercolor:late]" --seeds 4
      dfprompt generate "a red horse, [anime style:early:1.5]" --pipeline models/sd15 --steps 10
      dfprompt generate "a red house" "a red house, [mist:1->0.7]" --seed 7 --share --output house
    """
    check(request)
    from dfprompt.api.gallery import choose_folder, draw_texts
    from dfprompt.api.pipelines import open_pipeline

    if list(request.texts) == STDIN:
        loaded = {"pipeline": open_pipeline(request), "output": choose_folder(request.output, "stdin")}
        numbers = itertools.count(1)
        console.for_each_line(
            lambda line: draw_texts(
                request.model_copy(update={**loaded, "texts": [line]}), number=next(numbers), progress=True
            ).to_json()
        )
        return
    gallery = draw_texts(request, progress=True)
    if as_json:
        console.write_json(gallery.to_json())
        return
    for path in [*gallery.files, *([gallery.grid] if gallery.grid else [])]:
        console.write_result(str(path))
