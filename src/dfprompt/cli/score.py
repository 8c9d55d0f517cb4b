"""`dfprompt score` and `dfprompt calibrate`: pictures to numbers, and thresholds from plain pictures."""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.api.companions import MINI
from dfprompt.api.picture_rows import read_row, rows_to_score
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.measurement.prompts import read_plain_prompts
from dfprompt.requests.learn import CalibrateRequest
from dfprompt.requests.score import ScoreImagesRequest
from dfprompt.table import Table, number

if TYPE_CHECKING:
    from torch import Tensor

    from dfprompt.images.reading import Picture
    from dfprompt.rewards import Score


def register(app: typer.Typer) -> None:
    """Put the commands on the app."""
    app.command("score")(score)
    app.command("calibrate")(calibrate)


@takes(ScoreImagesRequest)
def score(request: ScoreImagesRequest, as_json: bool = JSON) -> None:
    """Score pictures against the plain prompts they answer.

    Without --prompt each picture's own counts: in metadata.jsonl, in NAME.txt beside it, or in the picture.

    \b
    Examples:
      dfprompt score drawn
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
        console.for_each_line(lambda line: _scored([read_row(line)], lambda: loaded)[0])
        return
    table = _scored(rows_to_score(request.images, request.prompt, request.prompts), load)
    if as_json:
        console.write_json({"rewards": list(sources), "images": table})
    else:
        _print_table(table, told=not request.prompt and request.prompts is None)


@takes(CalibrateRequest)
def calibrate(request: CalibrateRequest, as_json: bool = JSON) -> None:
    """Set the reward's thresholds from plain pictures of the pipeline in use.

    \b
    Examples:
      dfprompt calibrate --prompts plain.txt --output reward.toml
      dfprompt calibrate --pipeline models/sd14 --prompts plain.txt --output sd14-reward.toml
    """
    check(request)
    texts = [each.text for each in read_plain_prompts(request.prompts)]
    from dfprompt.api.calibration import calibrate_reward

    done = calibrate_reward(request, prompts=texts, progress=_show_progress)
    if as_json:
        console.write_json({"output": str(request.output), **done.to_json()})
    else:
        console.write(done.summary())
        console.note(f"written: {request.output}")


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


def _print_table(rows: Sequence[Mapping[str, Any]], *, told: bool) -> None:
    """Scores without the terms they enter a reward with; prompts that pictures `told` where they differ."""
    names = [name for name in rows[0]["scores"] if not _is_term(name, rows[0]["scores"])]
    several = len({row["prompt"] for row in rows}) > 1
    if told and not several:
        console.note(f"against: {rows[0]['prompt']}")
    shown = ["prompt"] if told and several else []
    table = Table("image", *shown, *map(number, names))
    for row in rows:
        table.add(row["image"], *map(row.get, shown), *(f"{row['scores'][name]:.4f}" for name in names))
    console.rich_console().print(table.rich())


def _is_term(name: str, names: Container[str]) -> bool:
    score, _, kind = name.rpartition("_")
    return kind in ("term", "gate") and score in names
