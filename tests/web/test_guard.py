"""What reaches a page's routes and what does not: the table of probes, whatever the method and the path."""

from __future__ import annotations

import json

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from asgi import HOST, call
from dfprompt.errors import GenerationError, InputError
from dfprompt.web.guard import HEADERS, MAX_BODY, Rules
from dfprompt.web.server import answer_json, make_app, make_rules, read_json

TOKEN = "a-token"
GIVEN = {"x-dfprompt-token": TOKEN}
OURS = {**GIVEN, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}
LINK = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}


async def thing(request: Request) -> Response:
    if request.method == "DELETE":
        raise GenerationError("the disk is full")
    sent = await read_json(request) if request.method == "POST" else {}
    if sent.get("wrong"):
        raise InputError("that is wrong")
    if sent.get("fault"):
        raise KeyError("nobody meant this")
    return answer_json({"sent": sent})


def make(rules: Rules | None = None) -> ASGIApp:
    route = Route("/api/thing", thing, methods=["GET", "POST", "DELETE"])
    return make_app("studio.html", [route], rules or Rules(TOKEN, larger={"/api/large": 10}))


PROBES = {
    "our own page reads": (200, "GET", "/api/thing", OURS),
    "our own page writes": (200, "POST", "/api/thing", OURS),
    "the front by address": (200, "GET", "/", {}),
    "the front by name": (200, "GET", "/", {"host": "localhost:8601"}),
    "the front by IPv6": (200, "GET", "/", {"host": "[::1]:8601"}),
    "a tunnel's port": (200, "GET", "/", {"host": "localhost:9999"}),
    "a link from another site": (200, "GET", "/", LINK),
    "a foreign host": (400, "GET", "/api/thing", {**GIVEN, "host": "evil.example"}),
    "a host that begins like ours": (400, "GET", "/", {"host": "127.0.0.1.evil.example"}),
    "a host with a user": (400, "GET", "/", {"host": "127.0.0.1@evil.example"}),
    "an empty host": (400, "GET", "/", {"host": ""}),
    "no host": (400, "GET", "/", {"host": None}),
    "no token": (403, "GET", "/api/thing", {}),
    "another token": (403, "GET", "/api/thing", {"x-dfprompt-token": "b"}),
    "no token to what is not there": (403, "GET", "/api/nowhere", {}),
    "a foreign origin": (403, "POST", "/api/thing", {**GIVEN, "origin": "http://evil.example"}),
    "the origin null": (403, "POST", "/api/thing", {**GIVEN, "origin": "null"}),
    "another port": (403, "POST", "/api/thing", {**GIVEN, "origin": "http://127.0.0.1:9999"}),
    "https of ours": (403, "POST", "/api/thing", {**GIVEN, "origin": f"https://{HOST}"}),
    "a DELETE from another site": (403, "DELETE", "/api/thing", {**GIVEN, "sec-fetch-site": "cross-site"}),
    "another port's page": (403, "GET", "/api/thing", {**GIVEN, "sec-fetch-site": "same-site"}),
    "a link to what is not the front": (403, "GET", "/api/thing", {**GIVEN, **LINK}),
    "a form sent to the front": (403, "POST", "/", {**GIVEN, **LINK}),
    "a frame of another site": (403, "GET", "/", {**LINK, "sec-fetch-mode": "no-cors"}),
    "a path out of the static files": (404, "GET", "/static/../server.py", {}),
    "two slashes": (404, "GET", "/static//etc/passwd", {}),
    "a static file written": (403, "POST", "/static/studio.html", {}),
}


@pytest.mark.parametrize("name", PROBES)
def test_probe(name: str) -> None:
    status, method, path, headers = PROBES[name]
    answer = call(make(), method, path, headers, b"{}" if method == "POST" else b"")  # type: ignore[arg-type]
    assert answer.status == status, answer.body
    for header, value in HEADERS.items():
        assert answer.headers[header.lower()] == value


def test_every_host_and_token_is_checked_before_the_app_runs() -> None:
    ran = []
    app = make_app("studio.html", [Route("/x", lambda request: ran.append(1))], Rules(TOKEN))
    for headers in ({}, {**GIVEN, "host": "evil"}, {**GIVEN, "origin": "null"}):
        assert call(app, "GET", "/x", headers).status in (400, 403)
    assert ran == []


@pytest.mark.parametrize("pieces", [1, 7])
def test_bodies_have_a_limit_whether_or_not_they_say_their_length(pieces: int) -> None:
    body = json.dumps({"a": "x" * MAX_BODY}).encode()
    said = {**GIVEN, "content-length": str(len(body))}
    assert call(make(), "POST", "/api/thing", said, body, pieces=pieces).status == 413
    assert call(make(), "POST", "/api/thing", GIVEN, body, pieces=pieces).status == 413
    assert call(make(), "POST", "/api/thing", {**GIVEN, "content-length": "-1"}, b"{}").status == 413
    fits = json.dumps({"a": "x" * (MAX_BODY - 20)}).encode()
    assert call(make(), "POST", "/api/thing", GIVEN, fits, pieces=pieces).status == 200


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 20_000])
def test_what_is_no_object_is_refused_in_words(body: bytes) -> None:
    answer = call(make(), "POST", "/api/thing", GIVEN, body)
    assert answer.status == 422
    assert answer.json["error"]["message"].startswith("the request")


def test_errors_are_one_line_of_json() -> None:
    wrong = call(make(), "POST", "/api/thing", GIVEN, b'{"wrong": 1}')
    assert (wrong.status, wrong.json["error"]["message"]) == (422, "that is wrong")
    failed = call(make(), "DELETE", "/api/thing", GIVEN)
    assert (failed.status, failed.json["error"]["message"]) == (500, "the disk is full")


def test_a_fault_is_told_without_its_traceback(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answered = []

    async def outer(scope, receive, send):  # type: ignore[no-untyped-def]
        async def keep(message):  # type: ignore[no-untyped-def]
            answered.append(message)
            await send(message)

        try:
            await make()(scope, receive, keep)
        except KeyError:
            pass  # told to the log of the server, which is silent

    answer = call(outer, "POST", "/api/thing", GIVEN, b'{"fault": 1}')
    assert answer.status == 500
    message = answer.json["error"]["message"]
    assert "a fault of dfprompt's own" in message
    assert "Traceback" not in message


def test_listening_everywhere_answers_to_addresses_and_no_foreign_name() -> None:
    rules = make_rules("0.0.0.0")
    assert rules.knows("192.168.1.7:8601")
    assert rules.knows("[fe80::1]:8601")
    assert not rules.knows("evil.example")
    assert make_rules().token != make_rules().token
    named = make_rules("10.0.0.7")
    assert named.knows("10.0.0.7")
    assert not named.knows("10.0.0.8")
    assert call(make(rules), "GET", "/api/thing", {"host": "192.168.1.7"}).status == 403
