"""`dfprompt study`: a comparison by people, from the plan to the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.errors import StudyError
from dfprompt.evaluation.plotting import check_plotting
from dfprompt.measurement.log import ROWS
from dfprompt.requests.doors import front_door
from dfprompt.requests.study import (
    StudyExportRequest,
    StudyForgetRequest,
    StudyPlanRequest,
    StudyReportRequest,
)
from dfprompt.storage import MOST_SETTINGS, check_free, read_user_text
from dfprompt.study.analysis import analyse
from dfprompt.study.answers import gather_answers, write_export
from dfprompt.study.drawing import Evaluation, draw_pairs
from dfprompt.study.journal import read_participants
from dfprompt.study.judging import Judged, judge_scores
from dfprompt.study.making import check_plan, plan_power, write_study
from dfprompt.study.plan import StudyPlan
from dfprompt.study.power import Power
from dfprompt.study.report import Report
from dfprompt.study.report_files import FILES, report_json, write_report
from dfprompt.study.study import Study
from dfprompt.study.texts import CONSENT_DRAFT
from dfprompt.study.votes import Opened, open_votes


@dataclass(frozen=True)
class StudyPlanned:
    """A study's folder, its plan with the digest it is known by, and what it can see."""

    folder: Path
    plan: StudyPlan
    digest: str
    power: Power

    def to_json(self) -> dict[str, Any]:
        """Return what was planned; nothing of it names a method."""
        return {
            "folder": str(self.folder),
            "digest": self.digest,
            "plan": self.plan.model_dump(),
            "power": self.power.to_json(),
        }


@front_door(StudyPlanRequest, "evaluation", "methods")
def plan_study(request: StudyPlanRequest) -> StudyPlanned:
    """Freeze a blinded comparison of an evaluation's pictures in a new folder.

    Pairs are drawn, pictures renamed and stripped of metadata, methods sealed, order and sides balanced, and
    the power simulated. Raises StudyError for an evaluation that cannot be compared (one method, failed or
    missing pictures, unequal seeds, too few prompts) and a folder that is there already.

    >>> # plan_study("evaluation", ["plain", "policy"], pairs=100, output="my-study").digest
    """
    consent = CONSENT_DRAFT if request.consent is None else _read_consent(request.consent)
    evaluation = Evaluation(request.evaluation, request.methods)
    drawn = draw_pairs(evaluation, request)
    check_plan(request)
    power = plan_power(request, drawn)
    plan, digest = write_study(request, evaluation, drawn, consent, power.sentence())
    return StudyPlanned(request.output, plan, digest, power)


def _read_consent(path: Path) -> str:
    advice = "write the text of consent as UTF-8"
    text = read_user_text(path, StudyError, most=MOST_SETTINGS, advice=advice)
    if not text.strip():
        raise StudyError(f"{path} is empty; participants have to read what they consent to")
    return text


@dataclass(frozen=True)
class StudyReported:
    """What a study found, and the files that say so."""

    report: Report
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return every number and the files."""
        return {**report_json(self.report), "files": [str(file) for file in self.files]}


@front_door(StudyReportRequest, "study", "output")
def report_study(request: StudyReportRequest) -> StudyReported:
    """Open what the plan sealed, and say what people said: report.md, a figure, shares.csv and answers.csv.

    Raises StudyError for a folder that is no study or was changed, and where nobody has answered; InputError
    for a report in `output` without `force`.

    >>> # report_study("my-study").report.everybody.lines[0].share
    """
    check_plotting()
    study = Study.open(request.study)
    place = request.output or request.study / "report"
    check_free([place / name for name in FILES], force=request.force or request.output is None)
    opened = open_votes(study)
    excluded = opened.excluded()
    everybody = analyse(opened)
    assert everybody is not None
    judged, note = _judge(opened, request.evaluation or opened.evaluation)
    report = Report(
        opened,
        study.digest,
        everybody,
        analyse(opened, list(excluded)),
        excluded,
        read_participants(request.study),
        judged,
        note,
    )
    return StudyReported(report, write_report(report, place))


def _judge(opened: Opened, evaluation: Path) -> tuple[list[Judged], str]:
    """Return how scores agree with people, or a note that says why none do."""
    if not (evaluation / ROWS).is_file():
        return (
            [],
            f"{evaluation} is not there any more; name it with --evaluation to have its scores checked.",
        )
    return judge_scores(opened, evaluation), ""


@dataclass(frozen=True)
class StudyExport:
    """A file of answers, how many of them it holds, and of how many people."""

    file: Path
    answers: int
    participants: int

    def to_json(self) -> dict[str, Any]:
        """Return what was written."""
        return {"file": str(self.file), "answers": self.answers, "participants": self.participants}


@front_door(StudyExportRequest, "study", "output")
def export_answers(request: StudyExportRequest) -> StudyExport:
    """Write every answer of a study into one file, without saying which method drew which picture.

    Raises StudyError for a folder that is no study, a damaged journal, and where the disk refuses;
    InputError for a file that is there without `force`.

    >>> # export_answers("study", "answers.jsonl").answers
    """
    file = request.output or request.study / "answers.csv"
    check_free([file], force=request.force or request.output is None)
    said = gather_answers(Study.open(request.study))
    write_export(file, said)
    return StudyExport(file, len(said), len({each.person.id for each in said}))


@front_door(StudyForgetRequest, "study", "participant")
def forget_participant(request: StudyForgetRequest) -> int:
    """Delete all that a study holds of one person, found by id, link or platform id; returns their number.

    It may be done while the study is served. Files that were exported before are yours to mend.
    Raises StudyError for nobody, and for a study that cannot be opened.

    >>> # forget_participant("study", token="0123...")
    """
    ways = [request.participant, request.token, request.platform_id]
    if sum(way is not None for way in ways) != 1:
        raise StudyError("say who is to be forgotten: an ID, --token TOKEN or --platform-id ID")
    study = Study.open(request.study)
    person = (
        study.resume(request.participant)
        if request.participant is not None
        else study.find(token=request.token, platform_id=request.platform_id)
    )
    if person is None or person.number is None:
        raise StudyError("nothing is stored of this person")
    study.forget(person.id)
    return person.number
