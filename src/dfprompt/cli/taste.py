"""`dfprompt taste`: which of two pictures, again and again, until a taste is learnt."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from dfprompt.api.checks import check
from dfprompt.cli import console
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.taste import TasteRequest

if TYPE_CHECKING:
    from dfprompt.api.taste import TasteRun
    from dfprompt.evaluation.judge_check import Pair

_ANSWERS = {"1": "a", "2": "b", "0": "tie"}


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("taste")(taste)


@takes(TasteRequest)
def taste(request: TasteRequest, as_json: bool = JSON) -> None:
    """Learn your own taste from 20 to 50 choices between two pictures; --reward taste:DIR then goes by it.

    Shows one pair after the other on a page and takes 1 (left), 2 (right), 0 (neither) or q (enough) in the
    terminal. What was chosen stays: the same command goes on.

    \b
    Examples:
      dfprompt taste --prompts prompts.txt --pipeline models/sd15 --output my-taste
      dfprompt taste --from dfprompt-out/evaluation --output my-taste --count 50
      dfprompt taste --choices choices.jsonl --reward clip --reward aesthetic --output my-taste
      dfprompt tune "a castle by the sea" --pipeline models/sd15 --reward taste:my-taste
    """
    check(request)
    from dfprompt.api.taste import learn_taste

    asks = bool(request.pictures) or request.prompts is not None
    run = learn_taste(request, choose=_choose if asks else None)
    if as_json:
        console.write_json(run.to_json())
    else:
        _show(run)


def _choose(pair: Pair, page: Path, number: int) -> str | None:
    """Show a pair and read the answer; the end of the input is the end of the questions."""
    if not number or not sys.stdin.isatty():
        console.note(f"the pictures: {page.resolve().as_uri()}")
    while True:
        console.note(f"{number + 1}. {pair.prompt}: 1 left, 2 right, 0 neither, q enough")
        answer = sys.stdin.readline()
        if not answer or answer.strip().lower() in ("q", "quit"):
            return None
        if answer.strip() in _ANSWERS:
            return _ANSWERS[answer.strip()]


def _show(run: TasteRun) -> None:
    from dfprompt.table import Table, format_number, number

    table = Table("term", number("counts"), number("95 %"), number("for the crowd"))
    for term in run.taste.terms:
        between = f"{format_number(term.low)} to {format_number(term.high)}"
        table.add(term.name, format_number(term.weight), between, format_number(term.crowd))
    console.write(table.markdown())
    for sentence in run.sentences():
        console.write(sentence)
