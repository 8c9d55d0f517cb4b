"""The plan of a study: frozen before the first answer, and known by its digest.

A study is a folder:

    plan.json            what is asked of whom: `StudyPlan`; no method, no path
    pairs.jsonl          a line per pair: {"pair", "kind", "prompt", "pictures": [id, id]}
    schedule.jsonl       a line per participant: their trials in order, with sides
    pictures/<id>.png    pixels alone, all files of one length
    consent.md           the researcher's own text, which every participant reads
    registration.md      what will be analysed and how, to be deposited before the first answer
    sealed.json, key     which method drew which picture, masked, and what unmasks it (mode 0600)
    links.json           one token per person (mode 0600)
    platform.key         what platform ids are hashed with; delete it and nobody can be found by one
    participants/        a journal per person who consented: <participant>.jsonl
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from dfprompt.config import Config
from dfprompt.errors import StudyError
from dfprompt.storage import read_bytes

PLAN, PAIRS, SCHEDULE, PICTURES = "plan.json", "pairs.jsonl", "schedule.jsonl", "pictures"
SEALED, KEY, LINKS, PLATFORM_KEY = "sealed.json", "key", "links.json", "platform.key"
CONSENT, REGISTRATION, PARTICIPANTS = "consent.md", "registration.md", "participants"
SHOWS, PREFER = "shows", "prefer"
"""The two questions, by what answers call them."""
LEFT, RIGHT, NEITHER = "left", "right", "neither"
CHOICES = (LEFT, RIGHT, NEITHER)
_MOST = 500_000_000  # bytes of a picture or list
Kind = Literal["practice", "main", "repeat", "gold"]
Count = Annotated[int, Field(ge=0)]


class Exclusion(Config):
    """Whose answers the second analysis leaves out; written down before the first answer."""

    unfinished: bool = True
    """Leave out who did not finish."""
    gold_failed: Count = 2
    """Leave out who chose the wrong picture in this many control pairs or more; 0 never does."""
    fastest_median: Annotated[float, Field(ge=0)] = 1.5
    """Leave out who took fewer seconds than this per pair, by the median."""
    same_side: Annotated[float, Field(ge=0.5, le=1)] = 0.95
    """Leave out who chose one side in more than this share of at least ten choices."""

    def sentence(self) -> str:
        """Return the rule in words.

        >>> Exclusion(gold_failed=0, fastest_median=0).sentence()
        'left out is whoever did not finish, or chose one side in more than 95 % of at least ten choices'
        """
        rules = ["did not finish"] if self.unfinished else []
        if self.gold_failed:
            rules.append(f"got {self.gold_failed} or more control pairs wrong")
        if self.fastest_median:
            rules.append(f"took under {self.fastest_median:g} s per pair by the median")
        if self.same_side < 1:
            rules.append(f"chose one side in more than {self.same_side:.0%} of at least ten choices")
        return (
            f"left out is whoever {', or '.join(rules)}".replace("%", " %") if rules else "nobody is left out"
        )


class StudyPlan(Config):
    """What a study asks of whom; nothing in it says which methods are compared.

    `files` are the SHA-256 digests of what belongs to it: changing one of them changes the plan.
    """

    version: Literal[1] = 1
    """The format of the folder."""
    title: str
    """What participants read above the consent text."""
    questions: dict[str, str]
    """The two questions, shows and prefer, as they are asked."""
    methods: Annotated[int, Field(ge=2)]
    """How many methods are compared."""
    pairs: Annotated[int, Field(ge=1)]
    """Pairs of pictures that are compared."""
    prompts: Annotated[int, Field(ge=1)]
    """Different prompts among them."""
    participants: Annotated[int, Field(ge=1)]
    """People asked."""
    per_participant: Annotated[int, Field(ge=1)]
    """Pairs that each of them is shown, without practice, repeats and controls."""
    practice: Count = 0
    """Pairs each begins with, whose answers do not count."""
    repeats: Count = 0
    """Pairs shown a second time with their sides swapped."""
    gold: Count = 0
    """Control pairs, in which one picture was drawn for other words."""
    identical: Count = 0
    """Pairs whose two pictures are the same, pixel by pixel."""
    seed: int
    """Drew the pairs, their order and their sides."""
    exclusion: Exclusion
    """Whose answers the second analysis leaves out."""
    retain_until: str
    """The day (ISO 8601) after which the answers are to be deleted."""
    power: str
    """What the design can see, as it was said when it was planned."""
    files: dict[str, str]
    """Digests of pairs.jsonl, schedule.jsonl, sealed.json and all pictures."""

    @property
    def trials(self) -> int:
        """Pairs one participant is shown, all kinds together."""
        return self.practice + self.per_participant + self.repeats + self.gold


def read_plan(folder: Path) -> tuple[StudyPlan, str]:
    """Return the plan of a folder and its digest; raises StudyError for a folder without a plan of ours."""
    path = folder / PLAN
    try:
        content = read_bytes(path)
        return StudyPlan.model_validate_json(content), hashlib.sha256(content).hexdigest()
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read: {error.strerror or error}; make a study with `dfprompt study plan`"
        ) from error
    except (ValidationError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise StudyError(f"{path} is no plan of a study ({reason}); restore it as it was written") from error


def digest_file(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal; raises OSError, also for one that has no end."""
    return hashlib.sha256(read_bytes(path, _MOST)).hexdigest()


def digest_pictures(folder: Path) -> str:
    """Return one SHA-256 of all pictures by name; raises OSError."""
    lines = [f"{digest_file(path)} {path.name}\n" for path in sorted(folder.glob("*.png"))]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest_files(folder: Path) -> dict[str, str]:
    """Return the digests that a plan keeps of its folder; raises OSError."""
    found = {name: digest_file(folder / name) for name in (PAIRS, SCHEDULE, SEALED)}
    return {**found, PICTURES: digest_pictures(folder / PICTURES)}


def check_files(folder: Path, files: Mapping[str, str]) -> None:
    """Raise StudyError naming what differs from what the plan froze."""
    try:
        found = digest_files(folder)
    except OSError as error:
        raise StudyError(f"{folder} is not whole: {error.strerror}: {error.filename}; restore it") from error
    changed = [name for name, digest in found.items() if files.get(name) != digest]
    if changed:
        raise StudyError(
            f"{folder}: {', '.join(changed)} changed since the plan was made; restore what was there, or "
            "plan a new study in another folder"
        )


def dump(value: Any) -> str:
    """Return one line of JSON, ASCII only, keys in their order."""
    return json.dumps(value, allow_nan=False)
