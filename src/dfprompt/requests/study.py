"""What `dfprompt study` is asked: the plan of a comparison by people, and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from dfprompt.requests.base import Flag, Request, Words

StudyFolder = Annotated[Path, Flag(metavar="DIR", argument=True)]
Small = Annotated[int, Field(ge=0, le=100)]


class StudyPlanRequest(Request):
    """What `dfprompt study plan` plans."""

    evaluation: Annotated[Path, Flag(metavar="EVALUATION", argument=True)]
    """The folder that `dfprompt evaluate` wrote, with its pictures."""
    methods: Annotated[Words, Flag(metavar="A,B[,C]", commas=True)]
    """The methods to compare, by their names in the evaluation; two or more."""
    pairs: Annotated[int, Flag(metavar="N")] = Field(default=100, ge=1, le=100_000)
    """Pairs of pictures; each is of another prompt while there are enough."""
    participants: Annotated[int, Flag(metavar="P")] = Field(default=100, ge=1, le=100_000)
    """People to be asked."""
    per_participant: Annotated[int, Flag(metavar="M")] = Field(default=20, ge=1, le=1000)
    """Pairs that each person is shown, without practice, repeats and controls."""
    output: Annotated[Path, Flag(metavar="DIR")] = Path("dfprompt-out/study")
    """Where the study's folder is made; nothing may stand there."""
    title: Annotated[str, Flag(metavar="TEXT")] = Field(
        default="Which picture?", min_length=1, max_length=200
    )
    """What participants read at the top; it should not say what is compared."""
    consent: Annotated[Path | None, Flag(metavar="FILE")] = None
    """Your text of consent (Markdown); without one a draft is written to be filled in."""
    ask_shows: Annotated[str, Flag(metavar="TEXT")] = Field(
        default="Which picture shows what was asked for?", min_length=1, max_length=200
    )
    """The first question, of what was asked."""
    ask_prefer: Annotated[str, Flag(metavar="TEXT")] = Field(
        default="Which picture do you like more?", min_length=1, max_length=200
    )
    """The second question, of liking."""
    practice: Annotated[Small, Flag(metavar="N")] = 2
    """Pairs that each person begins with, whose answers do not count."""
    repeats: Annotated[Small, Flag(metavar="N")] = 3
    """Pairs that each person sees again later, sides swapped."""
    gold: Annotated[Small, Flag(metavar="N")] = 2
    """Control pairs, in which one picture was drawn for other words."""
    exclude_gold: Annotated[Small, Flag(metavar="N")] = 2
    """Second analysis: leave out who got this many control pairs wrong; 0 leaves out nobody."""
    exclude_faster: Annotated[float, Flag(metavar="S")] = Field(default=1.5, ge=0, le=600)
    """Second analysis: leave out who took fewer seconds per pair, by the median."""
    exclude_side: Annotated[float, Flag(metavar="SHARE")] = Field(default=0.95, ge=0.5, le=1)
    """Second analysis: leave out who chose one side in more than this share; 1 leaves out nobody."""
    retain_days: Annotated[int, Flag(metavar="D")] = Field(default=365, ge=1, le=36_500)
    """Days from today after which the answers are to be deleted."""
    participant_spread: Annotated[float, Flag(metavar="SD")] = Field(default=0.5, ge=0, le=5)
    """Power: how much people differ in their liking of one method, in logits."""
    prompt_spread: Annotated[float, Flag(metavar="SD")] = Field(default=0.7, ge=0, le=5)
    """Power: how much prompts differ in which method wins, in logits."""
    draws: Annotated[float, Flag(metavar="SHARE")] = Field(default=0.15, ge=0, le=0.9)
    """Power: the share of answers that say no difference."""
    seed: Annotated[int, Flag(metavar="S")] = Field(default=0, ge=0)
    """Draws the pairs, their order and their sides."""


class StudyReportRequest(Request):
    """What `dfprompt study report` reports."""

    study: StudyFolder
    """The study's folder."""
    output: Annotated[Path | None, Flag(metavar="DIR")] = None
    """Where the report goes; default: report in the study's folder."""
    evaluation: Annotated[Path | None, Flag(metavar="DIR")] = None
    """The evaluation, where it lies elsewhere by now; its scores are checked against people."""
    force: bool = False
    """Write over a report that stands in --output."""


class StudyForgetRequest(Request):
    """What `dfprompt study forget` deletes."""

    study: StudyFolder
    """The study's folder."""
    participant: Annotated[str | None, Flag(metavar="[ID]", argument=True)] = None
    """The participant's id, as their last page shows it."""
    token: Annotated[str | None, Flag(metavar="TOKEN")] = None
    """Find them by the token of their personal link instead."""
    platform_id: Annotated[str | None, Flag(metavar="ID")] = None
    """Find them by their id on the platform instead."""


class StudyExportRequest(Request):
    """What `dfprompt study export` exports."""

    study: StudyFolder
    """The study's folder."""
    output: Annotated[Path | None, Flag(metavar="FILE")] = None
    """A file ending in .csv or .jsonl; default: answers.csv in the study's folder."""
    force: bool = False
    """Write over the file if it exists."""
