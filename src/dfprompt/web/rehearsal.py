"""People who are not there: simulated participants who take part in a study through its pages' own interface.

What somebody chooses follows from the seed, their place and the trial alone, so that a rehearsal that was
stopped goes on to the same answers.
"""

from __future__ import annotations

import http.client
import json
import math
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any
from urllib.parse import urlsplit

from dfprompt.endpoint import check_url
from dfprompt.errors import EndpointError, InputError
from dfprompt.excerpt import quote
from dfprompt.requests.participants import SimulateStudyRequest
from dfprompt.study.plan import LEFT, NEITHER, RIGHT
from dfprompt.study.sealing import unseal
from dfprompt.study.simulation import Spread, logit_of
from dfprompt.study.study import ABOUT, Study, Trial
from dfprompt.web.guard import TOKEN_HEADER

PATIENCE = 60.0  # seconds without a server before a simulated person gives up
_PAUSES = (0.05, 0.1, 0.2, 0.5, 1.0)


@dataclass(frozen=True)
class Rehearsed:
    """What came of a rehearsal: people, answers they were told are kept, requests sent again."""

    participants: int
    answers: int
    sent_again: int

    def to_json(self) -> dict[str, int]:
        """Return it as JSON."""
        return dict(vars(self))


class Crowd:
    """What simulated people choose; it reads the sealed methods, which no participant can.

    Raises InputError for a method that is not compared, StudyError where the seal cannot be opened.
    """

    def __init__(self, study: Study, request: SimulateStudyRequest) -> None:
        sealed = unseal(study.folder)
        self.request, self.pictures, self.gold = request, sealed["pictures"], sealed["gold"]
        self.method = request.method or sealed["methods"][0]
        if self.method not in sealed["methods"]:
            raise InputError(f"the study compares {', '.join(sealed['methods'])}, not {quote(self.method)}")
        self.trials = {
            each.id: each for number in range(study.plan.participants) for each in study.trials(number)
        }
        self.questions = tuple(study.plan.questions)
        spread = Spread(request.participant_spread, request.prompt_spread, request.draws)
        self.centre = logit_of(request.preference, spread)

    def choose(self, person: int, trial: str) -> dict[str, str]:
        """Return one person's answers to one trial."""
        request, shown = self.request, self.trials[trial]
        careless = self._random(person, "careless").random() < request.random
        random = self._random(person, trial)
        logit = 0.0 if careless else self._logit(person, shown)
        answers: dict[str, str] = {}
        for question in self.questions:
            is_draw, is_left = random.random() < request.draws, random.random() < 1 / (1 + math.exp(-logit))
            answers[question] = NEITHER if is_draw and abs(logit) < 6 else LEFT if is_left else RIGHT
        return answers

    def about(self, person: int) -> dict[str, str]:
        """Return what one person says of themselves: half of it."""
        random = self._random(person, "about")
        said = {name: (choices or ("Norway", "Ghana", "Chile")) for name, choices in ABOUT.items()}
        return {name: random.choice(choices) for name, choices in said.items() if random.random() < 0.5}

    def seconds(self, person: int, trial: str) -> float:
        """Return how long one person looks at one pair: 6 s by the median."""
        return round(self._random(person, trial, "seconds").lognormvariate(math.log(6), 0.5), 3)

    def _logit(self, person: int, trial: Trial) -> float:
        """How much the left picture is favoured."""
        if trial.pair in self.gold:
            return 8.0 if self.gold[trial.pair] == trial.left else -8.0
        left, right = self.pictures[trial.left], self.pictures[trial.right]
        sign = (left["method"] == self.method) - (right["method"] == self.method)
        of_person = self._random(person, "taste").gauss(0, self.request.participant_spread)
        of_prompt = self._random("prompt", left["prompt_id"]).gauss(0, self.request.prompt_spread)
        return float(sign * (self.centre + of_person + of_prompt) + self.request.side_bias)

    def _random(self, *what: object) -> Random:
        return Random(repr((self.request.seed, *what)))


class Visitor:
    """One simulated browser: it keeps its connection, and sends again what got no reply."""

    def __init__(self, address: str) -> None:
        check_url(address)
        self.host = urlsplit(address).netloc
        self.token = ""
        self.sent_again = 0
        self._connection: http.client.HTTPConnection | None = None

    def call(self, path: str, values: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON that a path answers."""
        return json.loads(self.fetch(path, values))

    def fetch(self, path: str, values: Mapping[str, Any] | None = None) -> bytes:
        """Return the bytes that a path answers; raises EndpointError for a refusal and for no server."""
        since, tried = time.monotonic(), 0
        while True:
            try:
                return self._exchange(path, values)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if time.monotonic() - since > PATIENCE:
                    raise EndpointError(f"http://{self.host}{path}: no answer ({error})") from error
            self.sent_again += 1
            time.sleep(_PAUSES[min(tried, len(_PAUSES) - 1)])
            tried += 1

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _exchange(self, path: str, values: Mapping[str, Any] | None) -> bytes:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(self.host, timeout=PATIENCE)
        body = None if values is None else json.dumps(values).encode()
        self._connection.request("GET" if body is None else "POST", path, body, {TOKEN_HEADER: self.token})
        answer = self._connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            told = json.loads(content)["error"]["message"]
            raise EndpointError(f"http://{self.host}{path}: {answer.status}, {told}")
        return content


def rehearse(study: Study, request: SimulateStudyRequest, address: str) -> Rehearsed:
    """Have simulated people take part at an address, several at once; who was there before goes on.

    Raises InputError for more people than have links, EndpointError for a refusal and for no server.
    """
    people = request.participants or study.plan.participants
    if people > len(study.tokens):
        raise InputError(
            f"the plan has links for {len(study.tokens)} people, not {people}; lower --participants"
        )
    crowd = Crowd(study, request)
    with ThreadPoolExecutor(request.at_once) as pool:
        visits = [
            pool.submit(_take_part, crowd, address, person, study.tokens[person]) for person in range(people)
        ]
        try:
            done = [visit.result() for visit in visits]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return Rehearsed(people, *(sum(column) for column in zip(*done, strict=True)))


def _take_part(crowd: Crowd, address: str, person: int, link: str) -> tuple[int, int]:
    """Take part as a page does; returns how many answers were kept and requests sent again."""
    visitor, kept = Visitor(address), 0
    try:
        answer = visitor.call("/api/enter", {"link": link})
        if "standing" not in answer:
            answer = visitor.call("/api/consent", {"link": link, "about": crowd.about(person)})
        visitor.token, standing = answer["token"], answer["standing"]
        while standing["trial"] is not None:
            trial = standing["trial"]["id"]
            pictures = [visitor.fetch(f"/api/pictures/{trial}/{side}") for side in (LEFT, RIGHT)]
            if len(set(map(len, pictures))) > 1:
                raise EndpointError(f"the pictures of trial {trial} are of different lengths")
            said = {"choices": crowd.choose(person, trial), "seconds": crowd.seconds(person, trial)}
            standing = visitor.call("/api/answer", {"trial": trial, **said})["standing"]
            kept += 1
    finally:
        visitor.close()
    return kept, visitor.sent_again
