"""`dfprompt start`: four questions, what each step costs, and the first pictures on the user's own model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from dfprompt.api.checks import check
from dfprompt.api.written import read_base
from dfprompt.cli import console
from dfprompt.cli.compare import print_comparison
from dfprompt.cli.options import JSON, takes
from dfprompt.errors import DFPromptError
from dfprompt.published import NO_SCORES, check_reward_names
from dfprompt.requests.base import split_commas
from dfprompt.requests.compare import CompareRequest
from dfprompt.requests.start import StartRequest

if TYPE_CHECKING:
    from dfprompt.api.comparison import ComparisonRun
    from dfprompt.api.start import StartPlan

Ask = Callable[[str, str], str]
"""Puts a question with its usual answer, and returns the answer."""


def register(app: typer.Typer) -> None:
    """Put the command on the app."""
    app.command("start")(start)


@takes(StartRequest)
def start(request: StartRequest, as_json: bool = JSON) -> None:
    """Draw the first pictures: a style all the time, early, late, and late and gently, on your model.

    Asks for the model, the words, the style and the scores, says what each step downloads and costs, and
    draws after a yes. No policy and no scores are needed.

    \b
    Examples:
      dfprompt start
      dfprompt start "a red house in the snow" --pipeline models/sd15 --vary watercolor --yes
      dfprompt start --pipeline models/sdxl --memory 8 --plan
    """
    check(request)
    from dfprompt.api.start import plan_start, start_drawing

    talks = sys.stdin.isatty() and sys.stderr.isatty() and not (request.yes or as_json)
    if talks and not request.plan:
        request = answer_questions(request, _ask)
    plan = plan_start(request)
    if not as_json:
        for number, step in enumerate(plan.steps, 1):
            console.note(f"{number}. {step}")
    if request.plan or not (request.yes or (talks and typer.confirm("Draw?", default=True, err=True))):
        _stop(plan, as_json, asked=request.plan)
        return
    run = start_drawing(plan, progress=True)
    if as_json:
        console.write_json({**plan.to_json(), "comparison": run.to_json()})
    else:
        _show(plan, run)


def answer_questions(request: StartRequest, ask: Ask) -> StartRequest:
    """Return the request with what was not said yet: model, words, style, scores; each checked at once."""
    from dfprompt.api.start import TEXT, VARY, find_models, look_at_model

    answers: dict[str, object] = {}
    if request.pipeline is None:
        found = find_models()
        question = f"Which model draws? Here are: {', '.join(found)}. Or a folder, a file, a hub id"
        answers["pipeline"] = _settle(ask, question, found[-1], look_at_model)
    if request.text is None:
        answers["text"] = _settle(ask, "What shall the pictures show?", TEXT, _check_words)
    if request.vary is None:
        answers["vary"] = _settle(ask, "Which words shall act at other times?", VARY, _check_style)
    if not request.rewards:
        question = "Which scores? none, clip, aesthetic, pickscore, hps, or mini for the model mini"
        answers["rewards"] = tuple(split_commas([_settle(ask, question, NO_SCORES, _check_rewards)]))
    return request.model_copy(update=answers)


def _settle(ask: Ask, question: str, usual: str, check: Callable[[str], object]) -> str:
    """Ask until the answer is one; what is wrong with another is said."""
    while True:
        answer = ask(question, usual)
        try:
            check(answer)
        except DFPromptError as error:
            console.show_error(error)
        else:
            return answer


def _check_words(words: str) -> None:
    read_base(words, df=False)


def _check_style(words: str) -> None:
    CompareRequest(texts=["a house"], vary=[words])


def _check_rewards(names: str) -> None:
    check_reward_names(split_commas([names]))


def _ask(question: str, usual: str) -> str:
    return str(typer.prompt(question, default=usual, err=True)).strip()


def _stop(plan: StartPlan, as_json: bool, *, asked: bool) -> None:
    if as_json:
        console.write_json({**plan.to_json(), "comparison": None})
        return
    if not asked:
        console.note("nothing was drawn; --yes draws without a question")
    console.write(plan.command)


def _show(plan: StartPlan, run: ComparisonRun) -> None:
    print_comparison(run)
    console.write("next:")
    late = next(each for each in run.shown.prompts[0].rewrites if each.label == "late")
    for command in plan.next_commands(late.prompt):
        console.write(f"  {command}")
