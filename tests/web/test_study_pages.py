"""A study's pages without a socket: nothing before consent, one answer per pair, no method told."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from asgi import Answer, call
from dfprompt.study.journal import read_participants
from dfprompt.study.sealing import unseal
from dfprompt.study.study import Study
from dfprompt.web.guard import HEADERS
from dfprompt.web.hosting import make_study_rules
from dfprompt.web.server import STATIC
from dfprompt.web.study import FULL_DISK, NO_LINK, STOPPED, Manner, make_study
from tiny_study import make_study as plan_study
from tiny_study import write_evaluation

METHODS = ("tangerine", "zebrafish")
LEFT = {"shows": "left", "prefer": "neither"}
PLAIN = Manner()
BROWSER = {"user-agent": "Curious/7.0", "x-forwarded-for": "203.0.113.9", "accept-language": "fi"}


class Visit:
    """Somebody's browser, and every answer it received."""

    def __init__(self, study: Study, manner: Manner = PLAIN, **way: Any) -> None:
        self.study, self.way, self.token = study, way, ""
        self.told: list[str] = []
        self.received: list[tuple[str, Answer]] = []
        self.app = make_study(study, manner, make_study_rules(study), self.told.append)

    def call(self, path: str, values: Mapping[str, Any] | None = None, **headers: str) -> Answer:
        body = b"" if values is None else json.dumps(values).encode()
        sent = {**BROWSER, "x-dfprompt-token": self.token, **headers}
        answer = call(self.app, "GET" if values is None else "POST", path, sent, body)
        self.received.append((path, answer))
        return answer

    def consent(self, **about: Any) -> dict[str, Any]:
        answer = self.call("/api/consent", {**self.way, "about": about})
        assert answer.status == 200, answer.body
        self.token = answer.json["token"]
        standing: dict[str, Any] = answer.json["standing"]
        return standing

    def answer(self, standing: Mapping[str, Any], seconds: float = 3.0, **choices: str) -> Answer:
        sent = {"trial": standing["trial"]["id"], "choices": {**LEFT, **choices}, "seconds": seconds}
        return self.call("/api/answer", sent)

    def pictures(self, standing: Mapping[str, Any]) -> list[Answer]:
        return [self.call(f"/api/pictures/{standing['trial']['id']}/{side}") for side in ("left", "right")]

    def message(self, answer: Answer) -> str:
        told: str = answer.json["error"]["message"]
        return told


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation(tmp_path_factory.mktemp("study") / "the-evaluation", methods=METHODS, size=24)


@pytest.fixture
def study(evaluation: Path, tmp_path: Path) -> Study:
    return plan_study(tmp_path / "the-study", evaluation, methods=METHODS)


@pytest.fixture
def visit(study: Study) -> Visit:
    return Visit(study, link=study.tokens[0])


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_until_somebody_consents_nothing_is_stored(visit: Visit) -> None:
    before = files_of(visit.study.folder)
    entered = visit.call("/api/enter", visit.way)
    assert entered.status == 200
    assert set(entered.json) == {"dfprompt", "study"}
    assert entered.json["study"]["consent"] == visit.study.consent_text
    assert visit.call("/api/standing").status == 403
    assert files_of(visit.study.folder) == before
    visit.consent()
    assert len(files_of(visit.study.folder)) == len(before) + 1


def test_a_whole_visit_with_a_return_halfway(visit: Visit) -> None:
    standing = visit.consent(age="25-34", country=None)
    total = visit.study.plan.trials
    assert (standing["done"], standing["total"], standing["practice"]) == (0, total, 1)
    for done in range(total):
        assert [each.status for each in visit.pictures(standing)] == [200, 200]
        if done == 4:
            again = visit.call("/api/enter", visit.way).json
            assert again["token"] == visit.token
            assert again["standing"] == standing == visit.call("/api/standing").json["standing"]
        standing = visit.answer(standing).json["standing"]
    assert (standing["done"], standing["trial"]) == (total, None)
    (person,) = read_participants(visit.study.folder)
    assert person.finished
    assert person.about == {"age": "25-34"}
    assert [each.trial for each in person.answers] == [each.id for each in visit.study.trials(0)]
    assert visit.told == []


def test_how_it_ends_is_said_at_the_end_alone(study: Study) -> None:
    for manner in (Manner(code="C1A2"), Manner(url="https://platform.example/complete?cc=C1A2")):
        visit = Visit(study, manner, link=study.tokens[0])
        standing = visit.consent()
        while standing["trial"]:
            assert "completion" not in standing
            assert b"C1A2" not in visit.received[-1][1].body
            standing = visit.answer(standing).json["standing"]
        assert standing["completion"] == {"code": manner.code, "url": manner.url}


def test_the_same_answer_again_is_kept_once_and_another_is_refused(visit: Visit) -> None:
    first = visit.consent()
    kept = visit.answer(first).json
    assert visit.answer(first, seconds=9).json == kept
    refused = visit.answer(first, shows="right")
    assert (refused.status, visit.message(refused)) == (
        409,
        "this pair is answered already; the first answer stands",
    )
    assert [dict(each.choices) for each in read_participants(visit.study.folder)[0].answers] == [LEFT]


def test_consent_sent_again_is_one_participant(visit: Visit) -> None:
    first = visit.consent(age="25-34")
    assert visit.consent(age="25-34") == first
    assert len(read_participants(visit.study.folder)) == 1


def test_pairs_are_answered_in_their_order_and_pictures_seen_in_it(visit: Visit) -> None:
    visit.consent()
    trials = visit.study.trials(0)
    late = visit.call("/api/answer", {"trial": trials[2].id, "choices": LEFT, "seconds": 1})
    assert (late.status, "one after the other" in visit.message(late)) == (409, True)
    for place, status in ((0, 200), (1, 200), (2, 409), (5, 409)):
        assert visit.call(f"/api/pictures/{trials[place].id}/left").status == status


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("study.example.org", "https://study.example.org", 200),
        ("127.0.0.1:8601", "http://127.0.0.1:8601", 200),
        ("study.example.org", "http://evil.example", 403),
        ("study.example.org", "https://evil.example", 403),
        ("evil.example", "https://study.example.org", 400),
    ],
)
def test_behind_a_proxy_its_name_and_no_other_is_ours(
    study: Study, host: str, origin: str, status: int
) -> None:
    rules = make_study_rules(study, address="https://study.example.org")
    app = make_study(study, PLAIN, rules, print)
    headers = {"host": host, "origin": origin, "sec-fetch-site": "same-origin"}
    body = json.dumps({"link": study.tokens[0]}).encode()
    assert call(app, "POST", "/api/enter", headers, body).status == status


def test_what_is_not_ones_own_is_refused(visit: Visit) -> None:
    standing = visit.consent()
    other = Visit(visit.study, link=visit.study.tokens[1])
    theirs = other.consent()
    for trial in (theirs["trial"]["id"], "0" * 16, "../plan.json", ""):
        refused = visit.call("/api/answer", {"trial": trial, "choices": LEFT, "seconds": 1})
        assert refused.status == 409
        assert visit.call(f"/api/pictures/{trial}/left").status in (404, 409)
    assert visit.call(f"/api/pictures/{standing['trial']['id']}/key").status == 409
    mine = visit.token
    for forged in ("", "x", "0" * 32, mine[:-1] + "g", mine[::-1], visit.study.tokens[0], "../" + mine, "é"):
        visit.token = forged
        assert visit.answer(standing).status == 403
        assert [each.status for each in visit.pictures(standing)] == [403, 403]
    assert all(not each.answers for each in read_participants(visit.study.folder))


@pytest.mark.parametrize("link", ["x" * 32, "../links.json", "", "é"])
def test_a_link_of_another_study_lets_nobody_in(study: Study, link: str) -> None:
    visit = Visit(study, link=link)
    for path in ("/api/enter", "/api/consent"):
        refused = visit.call(path, visit.way)
        assert refused.status == 409
        assert "link" in visit.message(refused)
    assert read_participants(study.folder) == []


def test_without_a_platform_nobody_comes_by_an_id(study: Study) -> None:
    for way in ({}, {"link": 3}, {"query": {"PROLIFIC_PID": "5f"}}, {"query": "PROLIFIC_PID=5f"}):
        visit = Visit(study, **way)
        assert visit.message(visit.call("/api/consent", way)) == NO_LINK
    assert read_participants(study.folder) == []


def test_a_platforms_id_is_one_person_and_stands_nowhere(study: Study) -> None:
    way = {"query": {"PROLIFIC_PID": "5f3c", "STUDY_ID": "77", "SESSION_ID": "s-88"}}
    visit = Visit(study, Manner(platform="PROLIFIC_PID"), **way)
    visit.answer(visit.consent())
    again = Visit(study, Manner(platform="PROLIFIC_PID"), **way).call("/api/enter", way).json
    assert (again["token"], again["standing"]["done"]) == (visit.token, 1)
    other = visit.call("/api/enter", {"query": {"workerId": "5f3c"}})
    assert visit.message(other) == NO_LINK
    stored = b"".join(files_of(study.folder).values())
    assert not any(word in stored for word in (b"5f3c", b"s-88"))


def test_no_address_and_no_browser_is_stored_or_told(visit: Visit) -> None:
    visit.answer(visit.consent())
    visit.call("/api/nowhere")
    stored = b"".join(files_of(visit.study.folder).values()).lower()
    for word in (b"curious", b"203.0.113.9", b"127.0.0.1", b"user-agent"):
        assert word not in stored
    assert visit.told == []


def test_seconds_are_at_most_those_since_the_pair_was_sent(visit: Visit) -> None:
    visit.answer(visit.answer(visit.consent(), seconds=900).json["standing"], seconds=0.001)
    first, second = read_participants(visit.study.folder)[0].answers
    assert 0 <= first.seconds < 60
    assert second.seconds == 0.001


def test_a_rehearsal_is_written_down_as_one(study: Study) -> None:
    visit = Visit(study, Manner(rehearsal=True), link=study.tokens[0])
    visit.answer(visit.consent(), seconds=7.5)
    person = read_participants(study.folder)[0]
    assert person.simulated
    assert person.answers[0].seconds == 7.5


@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"trial": 3, "choices": LEFT, "seconds": 1},
        {"choices": {"shows": "left"}},
        {"choices": {**LEFT, "shows": "both"}},
        {"choices": {**LEFT, "shows": ["left"]}},
        {"seconds": "soon"},
        {"seconds": -1},
        {"seconds": None},
    ],
)
def test_what_is_no_answer_is_refused_in_words(visit: Visit, sent: dict[str, Any]) -> None:
    standing = visit.consent()
    whole = {"trial": standing["trial"]["id"], "choices": LEFT, "seconds": 1}
    refused = visit.call("/api/answer", {**whole, **sent} if sent else {})
    assert refused.status == 409
    assert visit.message(refused)
    assert visit.call("/api/answer", whole).status == 200


@pytest.mark.parametrize("about", [{"age": "12"}, {"shoe": "43"}, "old", {"country": "x" * 99}])
def test_what_nobody_asked_is_not_stored(visit: Visit, about: Any) -> None:
    refused = visit.call("/api/consent", {**visit.way, "about": about})
    assert refused.status == 409
    assert all(not each.about for each in read_participants(visit.study.folder))


def test_a_full_disk_is_told_and_nothing_is_lost(visit: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    standing = visit.answer(visit.consent()).json["standing"]
    before = files_of(visit.study.folder)

    def refuse(descriptor: int, content: memoryview) -> int:
        if len(content) > 20:
            return real(descriptor, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    real = os.write
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        for _ in range(2):
            refused = visit.answer(standing)
            assert (refused.status, visit.message(refused)) == (503, FULL_DISK)
        late = Visit(visit.study, link=visit.study.tokens[1])
        assert late.call("/api/consent", late.way).status == 503
    assert len(visit.told) == 1
    assert "No space left on device" in visit.told[0]
    assert {name: before[name] for name in before} == {
        name: content for name, content in files_of(visit.study.folder).items() if name in before
    }
    assert visit.answer(standing).json["standing"]["done"] == 2
    assert len(read_participants(visit.study.folder)) == 1


def test_a_plan_changed_meanwhile_is_told_and_nothing_is_lost(visit: Visit) -> None:
    standing = visit.answer(visit.consent()).json["standing"]
    plan = visit.study.folder / "plan.json"
    kept = plan.read_text()
    plan.write_text(kept.replace("Which picture?", "Another title"))
    before = files_of(visit.study.folder)
    refused = visit.answer(standing)
    assert (refused.status, visit.message(refused)) == (503, STOPPED)
    assert files_of(visit.study.folder) == before
    assert "the plan changed while people took part" in visit.told[0]
    plan.write_text(kept)
    assert visit.answer(standing).json["standing"]["done"] == 2


@pytest.mark.parametrize("gone", ["consent.md", "pictures"])
def test_a_missing_file_is_told_to_the_researcher_alone(visit: Visit, gone: str) -> None:
    standing = visit.consent()
    place = visit.study.folder / gone
    place.rename(place.with_name("elsewhere"))
    refused = visit.call("/api/enter", visit.way) if gone == "consent.md" else visit.pictures(standing)[0]
    assert (refused.status, visit.message(refused)) == (503, STOPPED)
    assert gone in visit.told[0]


def chunks_of(png: bytes) -> list[bytes]:
    found, at = [], 8
    while at < len(png):
        (length,) = struct.unpack(">I", png[at : at + 4])
        found.append(png[at + 4 : at + 8])
        at += length + 12
    return found


def test_nothing_a_browser_receives_tells_a_method(study: Study, evaluation: Path) -> None:
    """Every byte of every route: whole visits, refusals, the page's own files."""
    received, lengths, seen = [], set(), set()
    for token in study.tokens:
        visit = Visit(study, Manner(code="C1A2"), link=token)
        visit.call("/api/enter", visit.way)
        standing = visit.consent(age="25-34")
        while standing["trial"]:
            for picture in visit.pictures(standing):
                assert set(chunks_of(picture.body)) <= {b"IHDR", b"IDAT", b"fiLl", b"IEND"}
                assert set(picture.headers) == {
                    "content-type",
                    "content-length",
                    "cache-control",
                    *map(str.lower, HEADERS),
                }
                assert picture.headers["cache-control"] == "no-store"
                lengths.add(len(picture.body))
                seen.add(picture.body)
            visit.answer(standing, shows="no")
            answered = visit.answer(standing)
            visit.answer(standing, shows="right")
            standing = answered.json["standing"]
        for path in (
            "/",
            "/api/standing",
            "/api/nowhere",
            "/api/pictures/x/left",
            "/plan.json",
            "/sealed.json",
        ):
            visit.call(path)
        received += visit.received
    app = visit.app
    for path in STATIC.rglob("*"):
        if path.is_file():
            name = f"/static/{path.relative_to(STATIC).as_posix()}"
            received.append((name, call(app, "GET", name)))
    assert len(lengths) == 1
    assert len(seen) == 2 * (study.plan.pairs + study.plan.practice + study.plan.gold)
    sealed = unseal(study.folder)
    pairs = [json.loads(line) for line in (study.folder / "pairs.jsonl").read_text().splitlines()]
    assert len(pairs) == 15
    secrets = [*METHODS, *sealed["pictures"], *sealed["gold"], *(pair["pair"] for pair in pairs)]
    secrets += [
        str(study.folder),
        str(evaluation),
        "the-study",
        "the-evaluation",
        ".jsonl",
        "sealed.json",
        "plan.json",
    ]
    secrets += [path.name for path in (evaluation / "pictures").iterdir()] + [
        "gold",
        "repeat",
        '"kind"',
        "prompt_id",
    ]
    ours = [each for each in received if each[0].startswith("/static/")]
    for path, answer in received:
        text = (json.dumps(answer.headers) + answer.body.decode("latin-1")).casefold()
        words = secrets if (path, answer) not in ours else [*METHODS, *sealed["pictures"]]
        assert [word for word in words if word.casefold() in text] == [], path


def test_the_pages_own_files_are_all_that_is_read_without_a_token(visit: Visit) -> None:
    visit.token = ""
    for name in files_of(visit.study.folder):
        relative = str(Path(name).relative_to(visit.study.folder))
        for path in (
            f"/{relative}",
            f"/static/../{relative}",
            f"/static/{relative}",
            f"/api/pictures/{relative}",
        ):
            assert visit.call(path).status in (403, 404)
