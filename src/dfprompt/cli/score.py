"""`dfprompt score` and `dfprompt calibrate`: pictures to numbers, and thresholds from plain pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import MINI, STDIN, check
from dfprompt.cli import console, score_input
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import ConfigError
from dfprompt.requests.score import REWARDS, ScoreImagesRequest

if TYPE_CHECKING:
    from torch import Tensor

    from dfprompt.images.reading import Picture
    from dfprompt.rewards import Score

_DEVICE = typer.Option("auto", "--device", help="auto, cpu, cuda or mps.")
_DTYPE = typer.Option("auto", "--dtype", help="auto (float16 on a GPU), float32, float16 or bfloat16.")
_ALLOW = typer.Option(False, "--allow-code", help="Let a recipe import Python code.")
_JSON = typer.Option(False, "--json", help="Print one JSON object.")
REWARD_HELP = REWARDS


def register(app: typer.Typer) -> None:
    """Put the commands on the app."""
    app.command("score")(score)
    app.command("calibrate")(calibrate)


@takes(ScoreImagesRequest)
def score(request: ScoreImagesRequest, as_json: bool = JSON) -> None:
    """Score pictures against the plain prompts they answer.

    \b
    Examples:
      dfprompt score cat.png --prompt "a red cat in the snow"
      dfprompt score a.png b.png --prompt "a red cat" --reward clip --reward aesthetic --json
      dfprompt score pictures --prompts prompts.jsonl --reward pickscore
    """

    check(request)
    sources = request.rewards or [MINI]

    def load() -> list[Score]:
        from dfprompt.api.rewards import load_reward

        return [
            load_reward(
                source,
                device=request.device,
                dtype=request.dtype,
                allow_code=request.allow_code,
                assignments=request.assignments,
            )
            for source in sources
        ]

    if list(request.images) == STDIN:
        loaded = load()
        console.for_each_line(
            lambda line: _scored([score_input.read_row(line, "this line")], lambda: loaded)[0]
        )
        return
    table = _scored(score_input.rows_to_score(request.images, request.prompt, request.prompts), load)
    if as_json:
        console.write_json({"rewards": list(sources), "images": table})
    else:
        _print_table(table)


def calibrate(
    prompts: Path = typer.Option(
        ..., "--prompts", metavar="FILE", help='Plain prompts: one per line, or JSON lines with "prompt".'
    ),
    output: Path = typer.Option(..., "--output", metavar="R.toml", help="The reward recipe to write."),
    pipeline: str = typer.Option("mini", "--pipeline", metavar="X", help="The pipeline that draws."),
    reward: str | None = typer.Option(
        None, "--reward", metavar="R", help="The composite to calibrate; default: mini for mini, else paper."
    ),
    quantile: float = typer.Option(
        0.5, "--quantile", metavar="Q", help="Share of plain pictures that each gate shall punish."
    ),
    seed: int = typer.Option(0, "--seed", metavar="S", help="The first seed."),
    seeds: int = typer.Option(2, "--seeds", metavar="K", help="Pictures per prompt."),
    device: str = _DEVICE,
    dtype: str = _DTYPE,
    allow_code: bool = _ALLOW,
    force: bool = typer.Option(False, "--force", help="Overwrite the recipe if it exists."),
    as_json: bool = _JSON,
) -> None:
    """Set the reward's thresholds from plain pictures of the pipeline in use.

    \b
    Examples:
      dfprompt calibrate --prompts plain.txt --output reward.toml
      dfprompt calibrate --pipeline models/sd14 --prompts plain.txt --output sd14-reward.toml
    """
    if output.exists() and not force:
        raise ConfigError(f"{output} exists; choose another name or pass --force to overwrite it")
    texts = score_input.read_prompts(prompts)
    from dfprompt.api.calibration import calibrate_reward

    done = calibrate_reward(
        texts,
        output,
        pipeline=pipeline,
        reward=reward,
        quantile=quantile,
        seeds=range(seed, seed + seeds),
        device=device,
        dtype=dtype,
        allow_code=allow_code,
        force=force,
        progress=_show_progress,
    )
    if as_json:
        console.write_json({"output": str(output), **done.to_json()})
    else:
        console.write(done.summary())
        console.note(f"written: {output}")


def _show_progress(done: int, total: int) -> None:
    console.note(f"{done} of {total} pictures drawn and scored")


def _scored(rows: Sequence[Mapping[str, Any]], load: Callable[[], list[Score]]) -> list[dict[str, Any]]:
    """One entry per row: image, prompt, scores, and what was converted on reading.

    Every file's head is looked at before anything heavy is loaded; pixels are read a few pictures at a time.
    """
    from dfprompt.api.rewards import score_images
    from dfprompt.images.reading import check_pictures

    files = [row["image"] for row in rows]
    pictures: list[Picture] = []
    check_pictures(files)
    columns = score_images(
        files, [row["prompt"] for row in rows], load(), records=list(rows), seen=pictures.append
    )
    for picture in pictures:
        if picture.notes:
            console.note(f"{picture.name}: {', '.join(picture.notes)}")
    return [
        {
            "image": row["image"],
            "prompt": row["prompt"],
            "scores": _row_of(columns, index),
            "converted": list(picture.notes),
        }
        for index, (row, picture) in enumerate(zip(rows, pictures, strict=True))
    ]


def _row_of(columns: Mapping[str, Tensor], index: int) -> dict[str, float]:
    return {name: round(values[index].item(), 6) for name, values in columns.items()}


def _print_table(table: Sequence[Mapping[str, Any]]) -> None:
    from rich.table import Table

    shown = Table(box=None)
    names = list(table[0]["scores"])
    shown.add_column("image", overflow="fold")
    for name in names:
        shown.add_column(name, justify="right")
    for row in table:
        shown.add_row(row["image"], *(f"{row['scores'][name]:.4f}" for name in names))
    console.rich_console().print(shown)
