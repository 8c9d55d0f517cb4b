"""`dfprompt tune`: search the best words, ranges and weights for one prompt, without training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.cli import console
from dfprompt.cli.render_flags import RenderFlags, with_flags
from dfprompt.cli.score import REWARD_HELP

if TYPE_CHECKING:
    from dfprompt.api.tuning import TuneRun
    from dfprompt.search.ledger import Report


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("tune")(tune)


@with_flags
def tune(
    text: str = typer.Argument(
        ..., metavar="TEXT", help="Plain words; - reads one prompt per line and answers in JSON lines."
    ),
    flags: RenderFlags = None,  # type: ignore[assignment]
    modifiers: Path | None = typer.Option(
        None, "--modifiers", metavar="FILE", help="Your own modifiers: one per line, or TOML with categories."
    ),
    images: int = typer.Option(48, "--images", metavar="N", help="Pictures in all; half to make sure."),
    minutes: float | None = typer.Option(
        None, "--minutes", metavar="M", help="Minutes of drawing and scoring that may be spent."
    ),
    reward: list[str] = typer.Option(
        [], "--reward", metavar="R", help=REWARD_HELP + " The first one is searched by."
    ),
    judge: list[str] = typer.Option(
        [], "--judge", metavar="J", help="A score that is only watched, named like a reward; repeatable."
    ),
    changes: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="Change a setting of the reward; repeatable."
    ),
    allow_code: bool = typer.Option(False, "--allow-code", help="Let a recipe import Python code."),
    seed: int = typer.Option(0, "--seed", metavar="S", help="The first seed, and the order of candidates."),
    df: bool = typer.Option(False, "--df", help="Keep spans already written in TEXT."),
    only: str | None = typer.Option(
        None, "--only", metavar="W", help="With --df: find range and weight of this one span."
    ),
    output: Path | None = typer.Option(
        None, "--output", metavar="DIR", help="Where to write; default: dfprompt-out/<date>-<words>."
    ),
    resume: bool = typer.Option(False, "--resume", help="Go on with the search in --output."),
    no_metadata: bool = typer.Option(False, "--no-metadata", help="Write no recipe into the pictures."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Search modifiers, ranges and weights for one prompt by reward; the answer is checked on fresh seeds.

    \b
    Examples:
      dfprompt tune "a red house in the snow" --pipeline models/sd15 --reward pickscore --judge clip
      dfprompt tune "a red cat on a hill" --modifiers my-words.txt --images 96 --output cat
      dfprompt tune --df "a cat, [film grain:late:1.25]" --only "film grain" --pipeline models/sd15
    """
    options: dict[str, Any] = {
        "modifiers": modifiers,
        "images": images,
        "minutes": minutes,
        "rewards": reward,
        "judges": judge,
        "assignments": changes,
        "allow_code": allow_code,
        "seed": seed,
        "df": df,
        "only": only,
        "settings": flags.settings(),
        "negative_prompt": flags.negative,
        "resume": resume,
        "metadata": not no_metadata,
        "device": flags.device,
        "dtype": flags.dtype,
    }
    if text == "-":
        _answer_lines(flags, output, options)
        return
    run = _run(flags, text, output, options)
    if as_json:
        console.write_json(run.to_json())
    else:
        _print(run)


def _run(flags: RenderFlags, text: str, output: Path | None, options: dict[str, Any]) -> TuneRun:
    from dfprompt.api.tuning import check_tuning, tune_prompt

    early = ("modifiers", "images", "minutes", "df", "only")
    check_tuning(text, flags.pipeline, **{key: options[key] for key in early})
    pipeline = flags.load()
    with _bar() as report:
        return tune_prompt(text, output, pipeline=pipeline, progress=report, **options)


def _answer_lines(flags: RenderFlags, output: Path | None, options: dict[str, Any]) -> None:
    """Tune each line of stdin by itself, each in a numbered folder, answering with one line of JSON."""
    from dfprompt.api.gallery import choose_folder, slug
    from dfprompt.api.tuning import tune_prompt

    pipeline, folder = flags.load(), choose_folder(output, "stdin")
    numbers = itertools.count(1)

    def work(line: str) -> dict[str, Any]:
        place = folder / f"{next(numbers):03d}-{slug(line)}"
        return tune_prompt(line, place, pipeline=pipeline, **options).to_json()

    console.for_each_line(work)


@contextmanager
def _bar() -> Iterator[Report]:
    """Yield what shows the images measured on stderr."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(bar_width=20))
    shown = Console(stderr=True)
    with Progress(*columns, MofNCompleteColumn(), TimeElapsedColumn(), console=shown) as progress:
        task = progress.add_task("images", total=None)
        yield lambda stage, done, total: progress.update(task, description=stage, completed=done, total=total)


def _print(run: TuneRun) -> None:
    answer = run.to_json()
    if run.df_prompt is not None:
        console.write(answer["df_prompt"])
    else:
        console.write(f"{answer['answer']}: {answer['reason']}")
        if answer["finalist"]:
            console.write(f"  the finalist was {answer['finalist']}")
    if answer["scores"]:
        _print_scores(run)
    if run.shares:
        _print_shares(run)
    spared, images = answer["evaluations"], answer["images"]
    console.write(
        f"images: {images['measured']} of {images['budget']}, {images['drawn_now']} drawn now; "
        f"modifiers: {answer['modifiers']}"
    )
    console.write(
        f"denoiser evaluations: {spared['done']}, {spared['saved']} saved by sharing "
        f"({100 * spared['saved_share']:.0f} %; first round {100 * spared['saved_share_first_round']:.0f} %)"
    )
    console.write(f"grid: {answer['grid']}")
    console.write(f"every image: {answer['journal']}")


def _print_scores(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.evaluation.tables import format_number, format_p

    console.write(f"on {len(run.outcome.fresh_seeds)} fresh seeds, finalist against plain:")
    table = Table(box=None)
    for head in ("score", "", "plain", "finalist", "difference", "95 % interval", "p (one-sided)"):
        table.add_column(head, justify="left" if head in ("score", "") else "right")
    for line in run.scores:
        found = line.evidence
        table.add_row(
            line.score,
            line.role,
            format_number(line.plain),
            format_number(line.finalist),
            format_number(found.difference, sign=True),
            _interval(found.low, found.high),
            format_p(found.p),
        )
    console.rich_console().print(table)
    if run.best_of is not None:
        best = run.best_of
        console.write(
            f"best of {best.n} plain pictures by {run.reward}: {format_number(best.plain)}; finalist: mean "
            f"{format_number(best.finalist_mean)}, best of its own {format_number(best.finalist_best)}"
        )


def _print_shares(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.evaluation.tables import format_number

    alone = len(run.shares) == 1
    console.write(
        "what each span adds"
        + (":" if alone else " (seeds of the search, on which the finalist was chosen: a hint, not proof):")
    )
    table = Table(box=None)
    for head in ("span", "difference", "95 % interval", "pairs"):
        table.add_column(head, justify="left" if head == "span" else "right")
    for share in run.shares:
        found = share.evidence
        if found is None:
            table.add_row(share.span, "not drawn without it", "", "0")
            continue
        difference = format_number(found.difference, sign=True)
        table.add_row(share.span, difference, _interval(found.low, found.high), str(found.pairs))
    console.rich_console().print(table)


def _interval(low: float | None, high: float | None) -> str:
    from dfprompt.evaluation.tables import format_number

    if low is None or high is None:
        return "too few"
    return f"{format_number(low, sign=True)} to {format_number(high, sign=True)}"
