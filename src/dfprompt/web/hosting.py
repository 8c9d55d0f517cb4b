"""A study on a port: what people open, how a rehearsal reaches it, and that both are kept apart."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from dfprompt.errors import InputError
from dfprompt.requests.participants import ServeStudyRequest, SimulateStudyRequest
from dfprompt.storage import lock_folder, reported, write_secret
from dfprompt.study.plan import CONSENT
from dfprompt.study.study import Study
from dfprompt.study.texts import TO_FILL
from dfprompt.web.guard import Rules
from dfprompt.web.rehearsal import Rehearsed, rehearse
from dfprompt.web.server import Place, address_of, make_rules, make_server, open_socket
from dfprompt.web.study import DOORS, Manner, make_study

_SENT_BY_PROLIFIC = ("PROLIFIC_PID", "STUDY_ID", "SESSION_ID")


@dataclass(frozen=True)
class Hosted:
    """Where a study is found: its address, its personal links, and the link that a platform is given."""

    address: str
    links: tuple[str, ...]
    platform: str | None
    begun: int
    planned: int

    def to_json(self) -> dict[str, object]:
        """Return it as JSON."""
        return dict(vars(self))


def make_study_rules(study: Study, listen: str | None = None, address: str | None = None) -> Rules:
    """Return the rules of a study's server: everyone has a token of their own, got at one of the doors."""
    rules = make_rules(listen, others=study.knows, doors=DOORS)
    if address is None:
        return rules
    name = urlsplit(address)
    origin = f"{name.scheme}://{name.netloc}"
    return Rules(
        rules.token,
        rules.hosts | {str(name.hostname)},
        rules.any_address,
        {},
        study.knows,
        DOORS,
        frozenset({origin}),
    )


def serve_study(
    request: ServeStudyRequest, tell: Callable[[Hosted], None], say: Callable[[str], None]
) -> None:
    """Serve a study until a signal ends it; `tell` is told where it is, `say` what goes wrong.

    Raises StudyError for a folder that is no study or was changed, InputError for a port that cannot be had,
    for another server on the same folder, people among simulated ones, and a text of consent that is a draft.
    """
    study = Study.open(request.study)
    with lock_folder(request.study), open_socket(Place(request.port, request.listen)) as bound:
        begun = _check_kind(study, request.rehearsal)
        if study.has_draft and not request.rehearsal:
            raise InputError(
                f"{study.folder / CONSENT} has places to be filled in, marked {TO_FILL}; write them before "
                "people come, or look at the draft with --rehearsal"
            )
        address = (request.address or address_of(bound)).rstrip("/")
        links = tuple(f"{address}/#{token}" for token in study.tokens)
        if request.links is not None:
            with reported(request.links, InputError, "name another file"):
                _write_links(request.links, links, study.tokens)
        tell(Hosted(address, links, _platform_link(address, request), begun, study.plan.participants))
        rules = make_study_rules(study, request.listen, request.address)
        make_server(make_study(study, _manner(request), rules, say)).run(sockets=[bound])


def _write_links(file: Path, links: Sequence[str], tokens: Sequence[str]) -> None:
    """Write the links for the user's eyes alone: who has one answers in somebody's name.

    Raises InputError where another file than the links of this study stands.
    """
    if os.path.lexists(file):
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else [""]
        if not all(line.rpartition("/#")[2] in tokens for line in lines):
            raise InputError(f"{file} exists already, and holds no links of this study; name another file")
    write_secret(file, "".join(f"{link}\n" for link in links))


def simulate_study(request: SimulateStudyRequest, say: Callable[[str], None]) -> Rehearsed:
    """Have simulated people take part through HTTP, on a server of its own or on one that runs.

    Raises as `serve_study`, and EndpointError for a server that refuses them or stays away.
    """
    study = Study.open(request.study)
    _check_kind(study, rehearsal=True)
    if request.address is not None:
        return rehearse(study, request, request.address)
    with lock_folder(request.study), _running(study, say) as address:
        return rehearse(study, request, address)


@contextmanager
def _running(study: Study, say: Callable[[str], None]) -> Iterator[str]:
    app = make_study(study, Manner(rehearsal=True), make_study_rules(study), say)
    with open_socket(Place(0)) as bound:
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        try:
            yield address_of(bound)
        finally:
            server.should_exit = True
            thread.join()


def _check_kind(study: Study, rehearsal: bool) -> int:
    """Return how many have begun; people and simulated people are never in one folder."""
    begun = study.participants()
    for person in begun:
        if person.simulated and not rehearsal:
            raise InputError(
                f"{study.folder} holds answers of simulated people; plan another study, or remove "
                f"{study.folder / 'participants'}, before people come"
            )
        if rehearsal and not person.simulated:
            raise InputError(
                f"{study.folder} holds answers of people, which a rehearsal would spoil; rehearse on a study "
                "that nobody has begun, such as one planned again into another folder"
            )
    return len(begun)


def _manner(request: ServeStudyRequest) -> Manner:
    end = request.completion
    is_address = end is not None and "://" in end
    return Manner(
        request.parameter, None if is_address else end, end if is_address else None, request.rehearsal
    )


def _platform_link(address: str, request: ServeStudyRequest) -> str | None:
    """Return the link that a platform is given: its own marks stand for what it fills in."""
    if request.parameter is None:
        return None
    if request.platform == "prolific":
        marks = "&".join(f"{name}={{{{%{name}%}}}}" for name in _SENT_BY_PROLIFIC)
        return f"{address}/?{marks}"
    return f"{address}/?{urlencode({request.parameter: '...'})}"
