"""`dfprompt study`: a blinded comparison by people."""

from __future__ import annotations

import typer

from dfprompt.cli import console, study_pages
from dfprompt.cli.commands import WholeGroup
from dfprompt.cli.options import JSON, takes
from dfprompt.requests.study import (
    StudyExportRequest,
    StudyForgetRequest,
    StudyPlanRequest,
    StudyReportRequest,
)

app = typer.Typer(
    name="study",
    help="Let people compare methods without knowing which is which, and report what they said.",
    cls=WholeGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
)


def register(parent: typer.Typer) -> None:
    """Put the command group on the app."""
    study_pages.register(app)
    parent.add_typer(app, name="study")


@app.callback()
def group() -> None:
    """Let people compare methods without knowing which is which, and report what they said."""


@app.command("plan")
@takes(StudyPlanRequest)
def plan(request: StudyPlanRequest, as_json: bool = JSON) -> None:
    """Freeze a comparison of an evaluation's pictures: pairs, order, sides, rules; prints what it can see.

    \b
    Examples:
      dfprompt study plan evaluation --methods plain,policy --output my-study
      dfprompt study plan evaluation --methods plain,rules,policy --pairs 150 --participants 120 \\
        --per-participant 25 --consent consent.md --output my-study
    """
    from dfprompt.api.study import plan_study

    planned = plan_study(request)
    if as_json:
        console.write_json(planned.to_json())
        return
    frozen = planned.plan
    console.write(
        f"{frozen.pairs} pairs of {frozen.prompts} prompts; {frozen.participants} people see {frozen.trials} "
        f"each: {frozen.practice} for practice, {frozen.per_participant} pairs, {frozen.repeats} again, "
        f"{frozen.gold} controls"
    )
    if frozen.identical:
        console.write(
            f"{frozen.identical} pairs show one picture twice, since the methods drew the same: all they can "
            "tell is no difference"
        )
    console.write(planned.power.sentence())
    console.write(f"digest of the plan: {planned.digest}")
    console.write(
        f"written: {planned.folder}; deposit registration.md, and complete consent.md, before you ask"
    )


@app.command("report")
@takes(StudyReportRequest)
def report(request: StudyReportRequest, as_json: bool = JSON) -> None:
    """Say what people said: shares with intervals over people and prompts, agreement, order, judges.

    This opens what the plan sealed; the registration says to wait until all have finished.

    \b
    Examples:
      dfprompt study report my-study
      dfprompt study report my-study --output results --json
    """
    from dfprompt.api.study import report_study

    reported = report_study(request)
    if as_json:
        console.write_json(reported.to_json())
        return
    console.write(reported.report.to_markdown())
    for path in reported.files:
        console.write(f"written: {path}")


@app.command("export")
@takes(StudyExportRequest)
def export(request: StudyExportRequest, as_json: bool = JSON) -> None:
    """Write every answer into one file, methods still sealed.

    \b
    Examples:
      dfprompt study export my-study
      dfprompt study export my-study --output answers.jsonl --json
    """
    from dfprompt.api.study import export_answers

    written = export_answers(request)
    if as_json:
        console.write_json(written.to_json())
        return
    console.write(f"written: {written.file}: {written.answers} answers of {written.participants} people")


@app.command("forget")
@takes(StudyForgetRequest)
def forget(request: StudyForgetRequest, as_json: bool = JSON) -> None:
    """Delete all that a study holds of one person.

    \b
    Examples:
      dfprompt study forget my-study 6723b9fc75133df8a440ea4cf5e57da3
      dfprompt study forget my-study --platform-id 5f2a...
    """
    from dfprompt.api.study import forget_participant

    number = forget_participant(request)
    if as_json:
        console.write_json({"forgotten": number})
        return
    console.write(f"forgotten: participant {number}; their place is free again")
