"""`dfprompt tune`: search the best words, ranges and weights for one prompt, without training."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.api.costs import estimate_search
from dfprompt.cli import console
from dfprompt.cli.costs import tell
from dfprompt.cli.options import JSON, takes
from dfprompt.cli.training_bar import TrainingBar
from dfprompt.errors import ConfigError
from dfprompt.requests.compare import TuneRequest
from dfprompt.table import Table, format_ends, format_number, format_p, number

if TYPE_CHECKING:
    from dfprompt.api.tuning import TuneRun
    from dfprompt.search.budgeted_scores import Report
    from dfprompt.statistics.comparison import Comparison

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
    if tell(lambda: estimate_search(request), asked=request.estimate, as_json=as_json):
        return
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

    if request.chosen_workers:
        raise ConfigError("--workers and --ray draw the prompts of one command; with - leave them out")
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
    table = Table(
        *("score", ""),
        *map(number, ("plain", "finalist", "difference", "95 % interval", "p (one-sided)")),
    )
    for line in run.scores:
        found = line.evidence
        sides = format_number(line.plain), format_number(line.finalist)
        table.add(line.score, line.role, *sides, *_difference(found), format_p(found.p))
    console.write(f"on {len(run.outcome.fresh_seeds)} fresh seeds, finalist against plain:")
    console.rich_console().print(table.rich())


def _print_best_of(run: TuneRun) -> None:
    best = run.best_of
    assert best is not None
    equal = (
        "as many as the search measured"
        if best.equal
        else f"the search measured {best.images}: not equal images, --best-of-n makes it so"
    )
    table = Table("score", "", *map(number, ("best of n", "finalist", "difference", "95 % interval")))
    for line in best.lines:
        sides = format_number(line.kept), format_number(line.finalist)
        table.add(line.score, line.role, *sides, *_difference(line.evidence))
    console.write(f"best of {best.n} plain pictures by {run.reward} ({equal}), against a new finalist:")
    console.rich_console().print(table.rich())
    console.write(
        f"best of the finalist's {best.finalists}: {format_number(best.finalist_best)} by {run.reward}"
    )


def _print_tried(run: TuneRun) -> None:
    table = Table("candidate", "origin", number("seeds"), number("difference"))
    for each in run.tried[:_SHOWN]:
        table.add(each.prompt, each.origin, each.seeds, format_number(each.difference, sign=True))
    console.write(
        f"the best of {len(run.tried)} candidates (seeds of the search: what was chosen from, no proof):"
    )
    console.rich_console().print(table.rich())


def _print_shares(run: TuneRun) -> None:
    table = Table("span", *map(number, ("difference", "95 % interval", "pairs")))
    for share in run.shares:
        found = share.evidence
        cells = ("not drawn without it", "") if found is None else _difference(found)
        table.add(share.span, *cells, 0 if found is None else found.pairs)
    hint = " (seeds of the search, on which the finalist was chosen: a hint, not proof)"
    console.write("what each span adds" + (":" if len(run.shares) == 1 else f"{hint}:"))
    console.rich_console().print(table.rich())


def _difference(found: Comparison) -> tuple[str, str]:
    return format_number(found.difference, sign=True), format_ends(found.interval.to_json())
