"""A study's pages: who comes in, what they are shown next, what they answer.

A browser is told the words of a pair, and shown its two pictures by the trial's id and a side: no kind of
pair, no id of a picture, no method, no file. Nobody's address or browser is looked at.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dfprompt.errors import DFPromptError, ParticipantError, StudyDiskError
from dfprompt.excerpt import quote
from dfprompt.study.journal import Participant
from dfprompt.study.study import ABOUT, Study, Trial
from dfprompt.web.guard import TOKEN_HEADER, Rules, say_refusal
from dfprompt.web.server import answer_json, describe_fault, make_app, read_json

DOORS = frozenset({"/api/enter", "/api/consent"})
NO_LINK = "This page needs the link of your invitation. Please open that link again, as it was sent to you."
FULL_DISK = (
    "What you sent could not be saved: the study's disk takes nothing more. All that you answered before is "
    "kept. Please try again in a while; if that does not help, write to whoever invited you."
)
STOPPED = (
    "The study has stopped, and this could not be saved. All that you answered before is kept. "
    "Please try again in a while; if that does not help, write to whoever invited you."
)
_LABELS = {
    "age": "Your age",
    "country": "The country you live in",
    "experience": "How often do you make pictures with a tool that draws from words?",
}


@dataclass(frozen=True)
class Manner:
    """How people come and go.

    platform: the parameter of the address that says who somebody is, such as PROLIFIC_PID; None takes
    personal links alone. code, url: what shows the platform that somebody has finished. rehearsal: whoever
    takes part is written down as simulated, and takes as long as they say.
    """

    platform: str | None = None
    code: str | None = None
    url: str | None = None
    rehearsal: bool = False


class Pages:
    """What answers each path; `say` is told what the researcher should know, once."""

    def __init__(self, study: Study, manner: Manner, say: Callable[[str], None]) -> None:
        self.study, self.manner, self._say = study, manner, say
        self._told: set[str] = set()
        self._shown: dict[str, tuple[str, float]] = {}  # who was given which trial when

    def listed(self) -> list[Route]:
        """Return the routes."""
        return [
            Route("/api/enter", self._posted(self.enter), methods=["POST"]),
            Route("/api/consent", self._posted(self.consent), methods=["POST"]),
            Route("/api/answer", self._posted(self.answer), methods=["POST"]),
            Route("/api/standing", self._asked(self.go_on)),
            Route("/api/pictures/{trial}/{side}", self._asked(self.picture)),
        ]

    def enter(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Say what the study is to somebody with a way in, and how far they are if they were here before."""
        person = self._arrived(values)
        answer: dict[str, Any] = {"study": self._described()}
        if person.has_consented:
            answer |= {"token": person.id, "standing": self._standing(person)}
        return answer_json(answer)

    def consent(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Store that somebody agrees, with what they say of themselves; nothing was stored before."""
        about = values.get("about") or {}
        if not isinstance(about, dict):
            raise ParticipantError("what you say of yourself must be said field by field")
        person = self.study.consent(self._arrived(values), simulated=self.manner.rehearsal)
        if said := {name: value for name, value in about.items() if value is not None}:
            self.study.about(person.id, said)
        return answer_json({"token": person.id, "standing": self._standing(person)})

    def go_on(self, request: Request) -> Response:
        """Say what comes next to somebody who comes back."""
        person = self._known(request)
        return answer_json({"study": self._described(), "standing": self._standing(person)})

    def answer(self, request: Request, values: Mapping[str, Any]) -> Response:
        """Store an answer, and say what comes next once it is on the disk."""
        person = self._known(request)
        trial, choices, seconds = (values.get(name) for name in ("trial", "choices", "seconds"))
        if not (isinstance(trial, str) and isinstance(choices, dict) and isinstance(seconds, int | float)):
            raise ParticipantError(f"this is no answer to a pair: {quote(values)}")
        current = self._open(person)[:1]
        if current and trial != current[0].id and trial not in person.answered:
            raise ParticipantError("pairs are answered one after the other; load the page again")
        self.study.answer(person.id, trial, choices, self._bounded(person, trial, seconds))
        return answer_json({"standing": self._standing(self.study.resume(person.id))})

    def picture(self, request: Request) -> Response:
        """Return a picture of the pair somebody is shown, or of the next one."""
        side = request.path_params["side"]
        for trial in self._open(self._known(request))[:2]:
            if trial.id == request.path_params["trial"] and side in ("left", "right"):
                path = self.study.picture(trial.left if side == "left" else trial.right)
                return Response(path.read_bytes(), media_type="image/png")
        raise ParticipantError("this picture is not of a pair you are shown")

    def _arrived(self, values: Mapping[str, Any]) -> Participant:
        link, query, name = values.get("link"), values.get("query"), self.manner.platform
        if isinstance(link, str):
            return self.study.enrol(token=link)
        if name and isinstance(query, dict) and isinstance(who := query.get(name), str):
            return self.study.enrol(platform_id=who)
        raise ParticipantError(NO_LINK)

    def _known(self, request: Request) -> Participant:
        person = self.study.resume(request.headers.get(TOKEN_HEADER, ""))
        if not person.has_consented:
            raise ParticipantError(NO_LINK)
        return person

    def _described(self) -> dict[str, Any]:
        about = [
            {"name": name, "label": _LABELS[name], "choices": choices or None}
            for name, choices in ABOUT.items()
        ]
        plan = self.study.plan
        text = self.study.consent_text
        return {"title": plan.title, "consent": text, "questions": plan.questions, "about": about}

    def _open(self, person: Participant) -> list[Trial]:
        assert person.number is not None
        answered = person.answered
        return [each for each in self.study.trials(person.number) if each.id not in answered]

    def _standing(self, person: Participant) -> dict[str, Any]:
        """How far somebody is, and what they are shown; who has answered all is finished."""
        assert person.number is not None
        trials, left = self.study.trials(person.number), self._open(person)
        standing: dict[str, Any] = {
            "done": len(trials) - len(left),
            "total": len(trials),
            "practice": sum(each.practice for each in trials),
        }
        if not left:
            self.study.finish(person.id)
            return {
                **standing,
                "trial": None,
                "completion": {"code": self.manner.code, "url": self.manner.url},
            }
        now = left[0]
        if self._shown.get(person.id, ("", 0.0))[0] != now.id:
            self._shown[person.id] = (now.id, time.monotonic())
        trial = {"id": now.id, "prompt": now.prompt, "practice": now.practice}
        return {**standing, "trial": trial, "next": left[1].id if left[1:] else None}

    def _bounded(self, person: Participant, trial: str, seconds: float) -> float:
        """The seconds a browser counted, at most those since the pair was sent there."""
        shown, since = self._shown.get(person.id, ("", 0.0))
        if self.manner.rehearsal or shown != trial:  # after a restart nobody knows since when
            return seconds
        return min(seconds, time.monotonic() - since)

    def _posted(self, work: Callable[[Request, Mapping[str, Any]], Response]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            values = await read_json(request)
            return await run_in_threadpool(self._tried, partial(work, request, values))

        return route

    def _asked(self, work: Callable[[Request], Response]) -> Callable[[Request], Any]:
        async def route(request: Request) -> Response:
            return await run_in_threadpool(self._tried, partial(work, request))

        return route

    def _tried(self, work: Callable[[], Response]) -> Response:
        """What work answers; what fails is told to the researcher, and without a path to the participant."""
        try:
            return work()
        except ParticipantError as error:
            return say_refusal(409, str(error))
        except (DFPromptError, OSError) as error:
            told = describe_fault(error)
            if told not in self._told:
                self._told.add(told)
                self._say(f"a participant was stopped: {told}")
            return say_refusal(503, FULL_DISK if isinstance(error, StudyDiskError) else STOPPED)


def make_study(study: Study, manner: Manner, rules: Rules, say: Callable[[str], None]) -> ASGIApp:
    """Return the app of a study's pages; its rules let in whom the study knows."""
    return make_app("study.html", Pages(study, manner, say).listed(), rules)
