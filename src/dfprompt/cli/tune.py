"""`dfprompt tune`: search the best words, ranges and weights for one prompt, without training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.cli.training_bar import TrainingBar
from dfprompt.requests.compare import TuneRequest

if TYPE_CHECKING:
    from dfprompt.api.tuning import TuneRun
    from dfprompt.search.budgeted_scores import Report
    from dfprompt.statistics.intervals import Interval

_SHOWN = 5  # candidates in the table; --json has all of them


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("tune")(tune)


@takes(TuneRequest)
def tune(request: TuneRequest, as_json: bool = JSON) -> None:
    """Search modifiers, ranges and weights for one prompt by reward; the answer is checked on fresh seeds.

    \b
    Examples:
      dfprompt tune "a red house in the snow" --pipeline models/sd15 --reward pickscore --judge clip
      dfprompt tune "a red house in the snow" --modifiers my-words.txt --images 96 --output house
      dfprompt tune "a red house in the snow" --policy mini --best-of-n --images 80
      dfprompt tune --df "a cat, [film grain:late:1.25]" --only "film grain" --pipeline models/sd15
    """
    check(request)
    from dfprompt.api.tuning import tune_prompt

    if request.text == STDIN[0]:
        _answer_lines(request)
        return
    with _bar() as report:
        run = tune_prompt(request, progress=report)
    if as_json:
        console.write_json(run.to_json())
    else:
        _print(run)


def _answer_lines(request: TuneRequest) -> None:
    """Tune each line of stdin by itself, each in a numbered folder, answering with one line of JSON."""
    from dfprompt.api.gallery import choose_folder, slug
    from dfprompt.api.pipelines import open_pipeline
    from dfprompt.api.tuning import tune_prompt

    pipeline, folder = open_pipeline(request), choose_folder(request.output, "stdin")
    numbers = itertools.count(1)
    asked = {name: getattr(request, name) for name in type(request).model_fields}

    def work(line: str) -> dict[str, Any]:
        place = folder / f"{next(numbers):03d}-{slug(line)}"
        return tune_prompt(**{**asked, "text": line, "pipeline": pipeline, "output": place}).to_json()

    console.for_each_line(work)


@contextmanager
def _bar() -> Iterator[Report]:
    """Yield what shows the images measured on stderr, from the first one on."""
    with closing(TrainingBar("images", {})) as bar:
        yield lambda stage, done, total: bar.move(done, total, stage)


def _print(run: TuneRun) -> None:
    answer = run.to_json()
    if run.df_prompt is not None:
        console.write_result(answer["df_prompt"])
    else:
        console.write(f"{answer['answer']}: {answer['reason']}")
        if answer["finalist"]:
            console.write(f"  the finalist was {answer['finalist']}")
    console.write(run.sentence())
    if answer["scores"]:
        _print_scores(run)
    if run.best_of is not None:
        _print_best_of(run)
    if run.shares:
        _print_shares(run)
    if run.tried:
        _print_tried(run)
    spared, images = answer["evaluations"], answer["images"]
    console.write(
        f"images: {images['measured']} of {images['budget']} ({images['search']} for the search, "
        f"{images['best_of_n']} more for best-of-n), {images['drawn_now']} drawn now; "
        f"modifiers: {answer['modifiers']}"
    )
    first = spared["first_round"]
    console.write(
        f"denoiser evaluations: {spared['done']}, {spared['saved']} saved by sharing "
        f"({100 * spared['saved_share']:.0f} %); first round: {first['done']}, {first['saved']} saved "
        f"({100 * spared['saved_share_first_round']:.0f} %)"
    )
    console.write(f"grid: {answer['grid']}")
    console.write(f"every image: {answer['journal']}")


def _print_scores(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.table import format_number, format_p

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
            _interval(found.interval),
            format_p(found.p),
        )
    console.rich_console().print(table)


def _print_best_of(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.table import format_number

    best = run.best_of
    assert best is not None
    equal = (
        "as many as the search measured"
        if best.equal
        else f"the search measured {best.images}: not equal images, --best-of-n makes it so"
    )
    console.write(f"best of {best.n} plain pictures by {run.reward} ({equal}), against a new finalist:")
    table = Table(box=None)
    for head in ("score", "", "best of n", "finalist", "difference", "95 % interval"):
        table.add_column(head, justify="left" if head in ("score", "") else "right")
    for line in best.lines:
        found = line.evidence
        table.add_row(
            line.score,
            line.role,
            format_number(line.kept),
            format_number(line.finalist),
            format_number(found.difference, sign=True),
            _interval(found.interval),
        )
    console.rich_console().print(table)
    console.write(
        f"best of the finalist's {best.finalists}: {format_number(best.finalist_best)} by {run.reward}"
    )


def _print_tried(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.table import format_number

    console.write(
        f"the best of {len(run.tried)} candidates (seeds of the search: what was chosen from, no proof):"
    )
    table = Table(box=None)
    for head in ("candidate", "origin", "seeds", "difference"):
        table.add_column(head, justify="left" if head in ("candidate", "origin") else "right")
    for each in run.tried[:_SHOWN]:
        difference = format_number(each.difference, sign=True)
        table.add_row(each.prompt, each.origin, str(each.seeds), difference)
    console.rich_console().print(table)


def _print_shares(run: TuneRun) -> None:
    from rich.table import Table

    from dfprompt.table import format_number

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
        table.add_row(share.span, difference, _interval(found.interval), str(found.pairs))
    console.rich_console().print(table)


def _interval(found: Interval) -> str:
    from dfprompt.table import format_number

    ends = found.to_json()
    return "too few" if ends is None else " to ".join(format_number(end, sign=True) for end in ends)
