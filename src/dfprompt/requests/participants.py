"""What `study serve` and `study simulate` are asked: how people come, or who stands in for them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from dfprompt.errors import InputError
from dfprompt.requests.base import Flag, Request
from dfprompt.requests.study import StudyFolder

Share = Annotated[float, Field(ge=0, le=1)]
Spread = Annotated[float, Field(ge=0, le=5)]


class ServeStudyRequest(Request):
    """How people reach a study, and where they go when they have finished.

    >>> ServeStudyRequest(study="study", platform="prolific").parameter
    'PROLIFIC_PID'
    """

    study: StudyFolder
    """The study's folder."""
    port: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=0, le=65535)
    """Where it listens: by default 8601 or the next that is free; 0 takes any."""
    listen: Annotated[str | None, Flag(metavar="ADDRESS")] = None
    """Answer other machines on this address."""
    address: Annotated[str | None, Flag(metavar="URL")] = None
    """What people open, where that is a proxy with a name of its own: https://study.example.org."""
    platform: Annotated[str | None, Flag(metavar="NAME")] = None
    """Let in whoever a platform sends: prolific, or the parameter of the address that says who it is."""
    completion: Annotated[str | None, Flag(metavar="TEXT")] = None
    """What is shown at the end: a code, or the address that people go back to."""
    links: Annotated[Path | None, Flag(metavar="FILE")] = None
    """Write the personal links into this file, one a line."""
    rehearsal: bool = False
    """Write down whoever takes part as simulated: for trying it out before the study begins."""

    @model_validator(mode="after")
    def _check_addresses(self) -> Self:
        from urllib.parse import urlsplit

        for name, text in (("--address", self.address), ("--completion", self.completion)):
            if text is None or (name == "--completion" and "://" not in text):
                continue
            parts = urlsplit(text)
            if parts.scheme not in ("http", "https") or not parts.hostname or not text.isprintable():
                raise InputError(f"{name} must be an address, http://HOST or https://HOST, not {text!r}")
            if name == "--address" and (parts.path.strip("/") or parts.query or parts.fragment):
                raise InputError(
                    f"--address is a name without a path, as https://study.example.org, not {text!r}"
                )
        return self

    @property
    def parameter(self) -> str | None:
        """The parameter of the address that says who somebody is."""
        return "PROLIFIC_PID" if self.platform == "prolific" else self.platform


class SimulateStudyRequest(Request):
    """Who stands in for people: what they prefer, how much they differ, how carefully they look."""

    study: StudyFolder
    """The study's folder."""
    preference: Annotated[float, Flag(metavar="P")] = Field(gt=0, lt=1)
    """How often --method is preferred, draws counted half; 0.5 is no difference."""
    method: Annotated[str | None, Flag(metavar="NAME")] = None
    """Whose share --preference is; by default the first method of the plan."""
    participants: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1)
    """How many take part; by default all that are planned."""
    participant_spread: Annotated[Spread, Flag(metavar="SD")] = 0.5
    """How much people differ in it, in logits."""
    prompt_spread: Annotated[Spread, Flag(metavar="SD")] = 0.7
    """How much prompts differ in it, in logits."""
    draws: Annotated[float, Flag(metavar="SHARE")] = Field(default=0.15, ge=0, le=0.9)
    """How often an answer is no difference."""
    side_bias: Annotated[float, Flag(metavar="B")] = Field(default=0.0, ge=-5, le=5)
    """How much the left picture is favoured, in logits."""
    random: Annotated[Share, Flag(metavar="SHARE")] = 0.0
    """Share of people who choose without looking."""
    seed: Annotated[int, Flag(metavar="S")] = Field(default=0, ge=0)
    """The same seed, the same people."""
    address: Annotated[str | None, Flag(metavar="URL")] = None
    """A `study serve DIR --rehearsal` that runs; by default one is started for them."""
    at_once: Annotated[int, Flag(metavar="N")] = Field(default=4, ge=1, le=64)
    """How many take part at the same time."""
