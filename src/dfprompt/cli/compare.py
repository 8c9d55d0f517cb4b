"""`dfprompt compare`: plain and optimised side by side, with scores and a report."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from dfprompt.api.checks import STDIN, check
from dfprompt.api.companions import HOW_TO_GET_A_POLICY, companions_of, writer_of
from dfprompt.api.costs import estimate_comparison
from dfprompt.cli import console
from dfprompt.cli.costs import tell
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import ConfigError
from dfprompt.requests.compare import CompareRequest
from dfprompt.table import Table, format_ends, format_number, number

if TYPE_CHECKING:
    from dfprompt.api.comparison import ComparisonRun


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("compare")(compare)


@takes(CompareRequest)
def compare(request: CompareRequest, as_json: bool = JSON) -> None:
    """Draw plain words and rewrites of them from the same seeds; prints scores, grid and report.

    \b
    Examples:
      dfprompt compare "a red house in the snow"
      dfprompt compare "a red house in the snow" --vary watercolor --pipeline models/sd15
      dfprompt compare "a red house in the snow" "a blue boat at night" --seeds 8 --candidates 2
      dfprompt compare --with "a red house in the snow, [film grain:late:1.25]" --pipeline models/sd15
    """
    check(request)
    if tell(lambda: estimate_comparison(request), asked=request.estimate, as_json=as_json):
        return
    from dfprompt.api.comparison import compare_prompts

    if list(request.texts) == STDIN:
        _answer_lines(request)
        return
    run = compare_prompts(request, progress=True)
    if not request.vary and writer_of(request, companions_of(request.pipeline)) is None:
        console.note(f"only what --with says was drawn beside plain: {HOW_TO_GET_A_POLICY}")
    if run.gate is not None:
        console.note(run.gate.sentence())
    if as_json:
        console.write_json(run.to_json())
    else:
        print_comparison(run)


def _answer_lines(request: CompareRequest) -> None:
    """Compare each line of stdin by itself into one folder, answering with one line of JSON."""
    from dfprompt.api.comparison import compare_prompts
    from dfprompt.api.gallery import choose_folder
    from dfprompt.api.pipelines import open_pipeline

    if request.chosen_workers:
        raise ConfigError("--workers and --ray draw the prompts of one command; with - leave them out")
    loaded = {"pipeline": open_pipeline(request), "output": choose_folder(request.output, "stdin")}
    numbers = itertools.count(1)

    def work(line: str) -> dict[str, Any]:
        asked = request.model_copy(update={**loaded, "texts": [line]})
        return compare_prompts(asked, number=next(numbers), progress=True).to_json()

    console.for_each_line(work)


def print_comparison(run: ComparisonRun) -> None:
    """Print what was drawn, its scores, and where it lies."""
    answer = run.to_json()
    for prompt in answer["prompts"]:
        console.write(prompt["prompt"])
        for rewrite in prompt["rewrites"][1:]:
            console.write(f"  {rewrite['label']}: {_says(rewrite)}")
    if answer["scores"]:
        heads = ("mean", "plain", "to plain", "95 % interval", "won", "tied", "lost")
        several = len(answer["prompts"]) > 1
        standings = answer["overall"] if several else answer["prompts"][0]["standings"]
        table = Table("score", "prompt", *map(number, heads), rows=map(_cells, standings))
        console.rich_console().print(table.rich())
    console.write(f"grid: {run.grid}")
    console.write(f"report: {run.report}")


def _says(rewrite: Mapping[str, Any]) -> str:
    if rewrite["unchanged"]:
        return f"{rewrite['unchanged']} (--at-least 1 makes the policy add something)"
    same = f" (the same pictures as {rewrite['same_as']})" if rewrite["same_as"] else ""
    return f"{rewrite['df_prompt']}{same}"


def _cells(each: Mapping[str, Any]) -> list[object]:
    mean, found = each["mean"], each["to_plain"]
    cells = [each["score"], each["label"], mean if mean is None else format_number(mean)]
    if found is None:
        return [*cells, *[""] * 6]
    difference = format_number(found["difference"], sign=True)
    counts = [found[name] for name in ("won", "tied", "lost")]
    return [
        *cells,
        format_number(found["baseline_mean"]),
        difference,
        format_ends(found["interval"]),
        *counts,
    ]
