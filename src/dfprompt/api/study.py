"""`dfprompt study`: a comparison by people, from the plan to the report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.errors import StudyError
from dfprompt.requests.doors import front_door
from dfprompt.requests.study import StudyExportRequest, StudyForgetRequest
from dfprompt.study.answers import gather_answers, write_export
from dfprompt.study.study import Study


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

    Raises StudyError for a folder that is no study, a damaged journal, and where the disk refuses.

    >>> # export_answers("study", "answers.jsonl").answers
    """
    file = request.output or request.study / "answers.csv"
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
