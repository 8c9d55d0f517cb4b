"""Every answer as a row: who by number, which pair, which side; nothing of which method drew what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfprompt.errors import StudyError
from dfprompt.storage import write_text, writing_into
from dfprompt.study.journal import Participant, read_participants
from dfprompt.study.plan import CHOICES, LEFT, PREFER, RIGHT, SHOWS
from dfprompt.study.study import ABOUT, Study, Trial
from dfprompt.table import Table, number

_COLUMNS = (
    "participant",
    "place",
    "kind",
    "pair",
    "prompt",
    "left",
    "right",
    SHOWS,
    PREFER,
    "seconds",
    *ABOUT,
)
_NUMBERS = ("participant", "place", "seconds")


@dataclass(frozen=True)
class Said:
    """One answer of one participant to one trial, `place` counted from 1."""

    person: Participant
    place: int
    trial: Trial
    shows: str
    prefer: str
    seconds: float

    def chosen(self, question: str) -> str | None:
        """Return the id of the picture chosen; None for no difference."""
        side = self.shows if question == SHOWS else self.prefer
        return {LEFT: self.trial.left, RIGHT: self.trial.right}.get(side)


def gather_answers(study: Study) -> list[Said]:
    """Return all answers, by participant and place; raises StudyError for one to no trial of the plan."""
    said = []
    for person in read_participants(study.folder):
        assert person.number is not None
        trials = {trial.id: (place, trial) for place, trial in enumerate(study.trials(person.number), 1)}
        for answer in person.answers:
            said_all = answer.choices.keys() == {SHOWS, PREFER} and set(answer.choices.values()) <= {*CHOICES}
            if answer.trial not in trials or not said_all:
                raise StudyError(
                    f"the journal of participant {person.number} answers what the plan does not ask; restore "
                    "it, or forget them"
                )
            place, trial = trials[answer.trial]
            choices = answer.choices
            said.append(Said(person, place, trial, choices[SHOWS], choices[PREFER], answer.seconds))
    return sorted(said, key=lambda each: (each.person.number or 0, each.place))


def write_export(path: Path, said: Sequence[Said]) -> None:
    """Write the answers as CSV or, for a name ending in .jsonl, as lines of JSON; raises StudyError.

    People stand there by their number: the id in a journal's name lets its holder go on as that person.
    """
    if path.suffix not in (".csv", ".jsonl"):
        raise StudyError(f"{path}: an export is a .csv or a .jsonl file")
    rows = [_cells(each) for each in said]
    if path.suffix == ".csv":
        text = Table(*(number(name) if name in _NUMBERS else name for name in _COLUMNS), rows=rows).csv()
    else:
        text = "".join(json.dumps(dict(zip(_COLUMNS, row, strict=True))) + "\n" for row in rows)
    with writing_into(path.parent, StudyError):
        write_text(path, text)


def _cells(said: Said) -> tuple[object, ...]:
    trial = said.trial
    about = [said.person.about.get(name) for name in ABOUT]
    return (
        said.person.number,
        said.place,
        trial.kind,
        trial.pair,
        trial.prompt,
        trial.left,
        trial.right,
        said.shows,
        said.prefer,
        said.seconds,
        *about,
    )
