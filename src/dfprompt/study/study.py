"""A study that people take part in: who may see what, and what they said."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dfprompt.errors import InputError, ParticipantError, StudyDiskError, StudyError
from dfprompt.excerpt import quote
from dfprompt.storage import lock_folder, read_lines, read_text, remove, reported
from dfprompt.study.journal import (
    Answer,
    Participant,
    append_event,
    journal_path,
    read_participant,
    read_participants,
)
from dfprompt.study.plan import (
    CHOICES,
    CONSENT,
    LEFT,
    PAIRS,
    PARTICIPANTS,
    PICTURES,
    SCHEDULE,
    Kind,
    StudyPlan,
    check_files,
    read_plan,
)
from dfprompt.study.sealing import Names
from dfprompt.study.texts import TO_FILL

AGES = ("18-24", "25-34", "35-44", "45-54", "55-64", "65+")
EXPERIENCE = ("never", "a few times", "monthly", "weekly or more")
"""How often somebody makes pictures with a text-to-image tool."""
ABOUT: dict[str, tuple[str, ...]] = {"age": AGES, "country": (), "experience": EXPERIENCE}
"""What participants may say of themselves, all of it optional; no choices means a few words of their own."""
_LONGEST_WORDS = 60
_LONGEST_SECONDS = 24 * 3600
_ROOM = 4  # people who may begin, for each who was planned: those who stop keep no place


@dataclass(frozen=True)
class Trial:
    """Two pictures side by side, by their ids; `to_json` is all that a browser may know of it."""

    id: str
    prompt: str
    left: str
    right: str
    pair: str
    kind: Kind

    @property
    def practice(self) -> bool:
        """Whether its answer does not count, and people may be told so."""
        return self.kind == "practice"

    def to_json(self) -> dict[str, Any]:
        """Return what a browser is sent: no pair, no kind but practice.

        >>> sorted(Trial("t", "a cat", "x", "y", "p", "gold").to_json())
        ['id', 'left', 'practice', 'prompt', 'right']
        """
        return {
            "id": self.id,
            "prompt": self.prompt,
            "left": self.left,
            "right": self.right,
            "practice": self.practice,
        }


class Study:
    """A study's folder while people take part: the seam between the pages and the files.

    Safe for threads; whatever a method returns is on the disk. Nothing here reads which method drew what.
    Use `Study.open`.

    >>> # study = Study.open(Path("study"))
    >>> # person = study.consent(study.enrol(token="..."))
    >>> # for trial in study.trials(person.number):
    >>> #     study.answer(person.id, trial.id, {"shows": "left", "prefer": "neither"}, seconds=4.2)
    >>> # study.finish(person.id)
    """

    def __init__(self, folder: Path, plan: StudyPlan, digest: str) -> None:
        self.folder, self.plan, self.digest = folder, plan, digest
        self._names = Names(folder)
        self._guard = threading.Lock()
        self._trials = _read_trials(folder)
        self._pictures = {
            picture for trials in self._trials for each in trials for picture in (each.left, each.right)
        }

    @classmethod
    def open(cls, folder: Path) -> Study:
        """Open a folder that `study plan` wrote.

        Raises StudyError where a file is missing, damaged or changed since the plan was made, and where
        somebody answered under another plan.
        """
        plan, digest = read_plan(folder)
        check_files(folder, plan.files)
        study = cls(folder, plan, digest)
        for each in read_participants(folder):
            study._refuse_other_plan(each)
        return study

    @property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of the personal links, one per planned participant."""
        return self._names.tokens

    @property
    def consent_text(self) -> str:
        """The researcher's own text (Markdown), as it stands in the folder now."""
        try:
            return read_text(self.folder / CONSENT)
        except (OSError, ValueError) as error:
            raise StudyError(f"{self.folder / CONSENT} cannot be read; write the text of consent") from error

    @property
    def has_draft(self) -> bool:
        """Whether the text of consent still holds places that the researcher has to fill in."""
        return TO_FILL in self.consent_text

    def picture(self, picture: str) -> Path:
        """Return the file of a picture's id; raises StudyError for an id of no picture."""
        if picture not in self._pictures:
            raise StudyError("this study has no picture of this id")
        return self.folder / PICTURES / f"{picture}.png"

    def trials(self, number: int) -> tuple[Trial, ...]:
        """Return what the participant of this number (0, 1, ...) is shown, always the same.

        Practice comes first. Numbers beyond the planned people begin again with the first one's trials.
        """
        return self._trials[number % len(self._trials)]

    def enrol(self, *, token: str | None = None, platform_id: str | None = None) -> Participant:
        """Return who opened a link: somebody new, or the one who consented with it before. Stores nothing.

        Without token and id (an open link) it is always somebody new. A platform's id is known by its keyed
        hash alone. Raises StudyError for a token of no link, when the study is full, and for new platform
        ids once their key was deleted.
        """
        if (known := self.find(token=token, platform_id=platform_id)) is not None:
            return known
        self._refuse_full(read_participants(self.folder))
        return Participant(self._names.new(), self._names.who(token, platform_id))

    def find(self, *, token: str | None = None, platform_id: str | None = None) -> Participant | None:
        """Return who consented with this link or platform id before; None for nobody."""
        who = self._names.who(token, platform_id)
        return None if who is None else self._find_who(who)

    def resume(self, participant: str) -> Participant:
        """Return the participant of an id, with what they said so far; raises StudyError for a forged id.

        Somebody who has not consented yet is returned as such.
        """
        return read_participant(journal_path(self.folder, self._names.check(participant))) or Participant(
            participant
        )

    def knows(self, participant: str) -> bool:
        """Return whether an id is one that this study gave, by the id alone."""
        return self._names.knows(participant)

    def participants(self) -> list[Participant]:
        """Return everybody who consented, by their number; raises StudyError for a damaged journal."""
        return read_participants(self.folder)

    def consent(self, participant: Participant, *, simulated: bool = False) -> Participant:
        """Store that somebody consents to the text as it stands, and give them their number.

        `simulated` is written down with it: nobody was there. Once is enough: a second time returns what is
        stored. Raises StudyError when the study is full,
        StudyDiskError where the disk refuses.
        """
        self._names.check(participant.id)
        with self._guard, self._held():
            if (known := self._find(participant)) is not None:
                return known
            everybody = read_participants(self.folder)
            self._refuse_full(everybody)
            taken = {each.number for each in everybody}
            number = next(number for number in range(len(taken) + 1) if number not in taken)
            text = hashlib.sha256(self.consent_text.encode()).hexdigest()
            values = {"participant": participant.id, "number": number, "who": participant.who}
            values |= {"text": text, "day": datetime.now(UTC).date().isoformat()}
            if simulated:
                values["simulated"] = True
            append_event(self.folder, participant.id, "consent", values)
            return dataclasses.replace(participant, number=number, text=text, simulated=simulated)

    def decline(self, participant: Participant) -> None:
        """End the visit of somebody who does not consent: nothing was stored, and nothing is."""
        self._names.check(participant.id)

    def about(self, participant: str, said: Mapping[str, str]) -> None:
        """Store what somebody says of themselves; every field of `ABOUT` may be left out.

        Raises StudyError for other fields and other choices.
        """
        for name, value in said.items():
            allowed = ABOUT.get(name)
            if allowed is None or (allowed and value not in allowed):
                raise ParticipantError(f"{quote(name)}: no such answer: {quote(value)}; leave it out")
            if not isinstance(value, str) or len(value) > _LONGEST_WORDS or not value.isprintable():
                raise ParticipantError(f"{name}: say it in {_LONGEST_WORDS} characters, or leave it out")
        with self._guard:
            person = self._consented(participant)
            append_event(self.folder, person.id, "about", {"about": dict(said)})

    def answer(self, participant: str, trial: str, choices: Mapping[str, str], seconds: float) -> bool:
        """Store what somebody chose: for each question left, right or neither; False if it was there already.

        The same answer sent twice (because the first reply was lost) is stored once. Raises StudyError for
        forged ids, a trial that is not theirs, another answer to an answered trial, answers that are none,
        and a plan that changed since the first answer; StudyDiskError where the disk refuses.
        """
        checked = _check_answer(self.plan, trial, choices, seconds)
        with self._guard:
            person = self._consented(participant)
            assert person.number is not None
            if trial not in {each.id for each in self.trials(person.number)}:
                raise ParticipantError("this pair is not one of yours; load the page again")
            for before in person.answers:
                if before.trial == trial:
                    if before.choices == checked.choices:
                        return False
                    raise ParticipantError("this pair is answered already; the first answer stands")
            if person.finished:
                raise ParticipantError("you have finished; nothing can be added")
            self._refuse_other_plan(person)
            append_event(
                self.folder, person.id, "answer", dataclasses.asdict(checked) | {"plan": self.digest}
            )
        return True

    def finish(self, participant: str) -> None:
        """Store that somebody is done; raises StudyError while trials are open."""
        with self._guard:
            person = self._consented(participant)
            assert person.number is not None
            missing = len({each.id for each in self.trials(person.number)} - person.answered)
            if missing:
                raise ParticipantError(f"{missing} pairs are not answered yet")
            if not person.finished:
                append_event(self.folder, person.id, "finish", {})

    def forget(self, participant: str) -> None:
        """Delete all that is stored of somebody; raises StudyError for a forged id and for nobody."""
        path = journal_path(self.folder, self._names.check(participant))
        with self._guard, self._held():
            if not path.exists():
                raise StudyError(f"nothing is stored of {participant}")
            with reported(path, StudyDiskError, "remove it by hand"):
                remove(path)

    def _held(self) -> Any:
        return lock_folder(self.folder / PARTICIPANTS)

    def _find(self, participant: Participant) -> Participant | None:
        """Return what is stored of somebody, under their id or their link."""
        known = read_participant(journal_path(self.folder, participant.id))
        if known is not None or participant.who is None:
            return known
        return self._find_who(participant.who)

    def _find_who(self, who: str) -> Participant | None:
        return next((each for each in read_participants(self.folder) if each.who == who), None)

    def _consented(self, participant: str) -> Participant:
        person = self.resume(participant)
        if not person.has_consented:
            raise ParticipantError("nobody of this id has consented; begin with the page of consent")
        return person

    def _refuse_full(self, everybody: list[Participant]) -> None:
        done = sum(each.finished for each in everybody)
        if done >= self.plan.participants or len(everybody) >= _ROOM * self.plan.participants:
            raise ParticipantError("this study has all the people it asked for; thank you")

    def _refuse_other_plan(self, person: Participant) -> None:
        now, before = read_plan(self.folder)[1], person.plan or self.digest
        if now != before:
            raise StudyError(
                f"{self.folder}: the plan changed while people took part (it was {before[:12]}, now is "
                f"{now[:12]}); restore what was there, or plan a new study in another folder"
            )


def _check_answer(plan: StudyPlan, trial: str, choices: Mapping[str, str], seconds: float) -> Answer:
    if set(choices) != set(plan.questions) or not all(each in CHOICES for each in choices.values()):
        raise ParticipantError(f"an answer says {', '.join(CHOICES)} to each of {', '.join(plan.questions)}")
    if not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise ParticipantError(f"seconds must be a number from 0, not {quote(seconds)}")
    return Answer(trial, dict(choices), round(min(float(seconds), _LONGEST_SECONDS), 3))


def _read_trials(folder: Path) -> list[tuple[Trial, ...]]:
    """Return every planned participant's trials; raises StudyError for damaged files."""
    try:
        pairs = {row["pair"]: row for row in map(json.loads, read_lines(folder / PAIRS))}
        return [
            tuple(_trial(each, pairs[each["pair"]]) for each in row["trials"])
            for row in map(json.loads, read_lines(folder / SCHEDULE))
        ]
    except (OSError, ValueError, LookupError, TypeError, InputError) as error:
        raise StudyError(
            f"{folder}: {PAIRS} or {SCHEDULE} is damaged; restore what the plan wrote"
        ) from error


def _trial(row: Mapping[str, Any], pair: Mapping[str, Any]) -> Trial:
    first, second = pair["pictures"]
    left, right = (first, second) if row["first"] == LEFT else (second, first)
    return Trial(row["id"], pair["prompt"], left, right, pair["pair"], row["kind"])
