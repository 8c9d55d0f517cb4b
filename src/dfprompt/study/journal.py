"""The journal of one participant: a line per thing they said, on the disk before they are told so.

The first line says that they consented: {"event": "consent", "participant", "number", "who", "text",
"day"}; then come "about", "answer" (with the digest of the plan) and "finish". No address, no browser, no
time of day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfprompt.errors import StudyDiskError, StudyError
from dfprompt.storage import LineFile, read_lines, reported
from dfprompt.study.plan import PARTICIPANTS, dump

_ADVICE = "what was sent is not kept; make room, then send it again"


@dataclass(frozen=True)
class Answer:
    """What somebody said of one trial, and after how many seconds."""

    trial: str
    choices: Mapping[str, str]
    seconds: float


@dataclass(frozen=True)
class Participant:
    """Somebody who takes part; `number` is None until they consent, and nothing of them is stored before.

    `who` is the keyed hash of their link or platform id, `plan` the digest they answered under, `text` the
    digest of what they consented to.
    """

    id: str
    who: str | None = None
    number: int | None = None
    plan: str = ""
    text: str = ""
    about: Mapping[str, str] = field(default_factory=dict)
    answers: tuple[Answer, ...] = ()
    finished: bool = False
    simulated: bool = False

    @property
    def has_consented(self) -> bool:
        """Whether there is anything stored of them."""
        return self.number is not None

    @property
    def answered(self) -> frozenset[str]:
        """The trials that are answered."""
        return frozenset(answer.trial for answer in self.answers)


def journal_path(folder: Path, participant: str) -> Path:
    """Return where somebody's journal lies."""
    return folder / PARTICIPANTS / f"{participant}.jsonl"


def append_event(folder: Path, participant: str, event: str, values: Mapping[str, Any]) -> None:
    """Add a line to somebody's journal; raises StudyDiskError where the disk refuses, and nothing is kept."""
    path = journal_path(folder, participant)
    with reported(path, StudyDiskError, _ADVICE), LineFile(path) as file:
        file.append([dump({"event": event, **values})])


def read_participant(path: Path) -> Participant | None:
    """Return who a journal is of; None where there is none, or a kill left no whole line of it.

    Raises StudyError for a damaged line.
    """
    try:
        lines = read_lines(path)
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from error
    values: dict[str, Any] = {"about": {}}
    answers = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            event = entry.pop("event")
            if event == "consent":
                values |= {name: entry[name] for name in ("who", "number", "text")}
                values |= {"id": entry["participant"], "simulated": entry.get("simulated", False)}
            elif event == "about":
                values["about"] = dict(entry["about"])
            elif event == "answer":
                answers.append(Answer(entry["trial"], dict(entry["choices"]), float(entry["seconds"])))
                values["plan"] = entry["plan"]
            elif event == "finish":
                values["finished"] = True
        except (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise StudyError(
                f"{path}, line {number}: no line of a participant's journal; restore it, or forget them"
            ) from error
    if lines and "id" in values and not _fits(values, answers):
        raise StudyError(f"{path}: no journal of a participant; restore it, or forget them")
    if lines and "id" not in values:
        raise StudyError(f"{path}: says nothing of a consent; restore it, or remove the file")
    return Participant(answers=tuple(answers), **values) if lines else None


def _fits(values: Mapping[str, Any], answers: Sequence[Answer]) -> bool:
    """Whether what a journal says is of the kinds that were written."""
    texts = [values["id"], values["text"], values.get("plan", ""), values["who"] or ""]
    for each in answers:
        texts += [each.trial, *each.choices.values()]
    number = values["number"]
    return type(number) is int and number >= 0 and all(isinstance(each, str) for each in texts)


def read_participants(folder: Path) -> list[Participant]:
    """Return everybody who consented, by their number; raises StudyError for a damaged journal."""
    paths = sorted((folder / PARTICIPANTS).glob("*.jsonl"))
    found = [each for path in paths if (each := read_participant(path)) is not None]
    return sorted(found, key=lambda each: (each.number or 0, each.id))
