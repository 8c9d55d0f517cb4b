"""A web server for the people at this machine: an app behind the guard, on a port, with its address to open.

What stands on it (the studio, a study) brings its page, its routes and its larger bodies:

    rules = make_rules()
    app = make_app("studio.html", routes, rules)
    serve(app, Place(port=8601), rules.token)
"""

from __future__ import annotations

import ipaddress
import json
import mimetypes
import secrets
import socket
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from dfprompt.errors import DFPromptError, InputError, ParseError
from dfprompt.excerpt import quote
from dfprompt.faults import keep_fault
from dfprompt.web.guard import LOOPBACK, Guard, Rules, TooLarge, say_refusal

STATIC = Path(__file__).parent / "static"
for _suffix in (".js", ".mjs"):  # a browser runs no module of another type, and Windows may know another
    mimetypes.add_type("text/javascript", _suffix)
PORT = 8601
_PORTS_TRIED = 20  # from PORT on, where nobody asked for one


@dataclass(frozen=True)
class Place:
    """Where a server listens: port 0 takes any free one, None PORT or the next free; `listen` an address."""

    port: int | None = None
    listen: str | None = None
    browser: bool = True


def make_rules(listen: str | None = None, larger: Mapping[str, int] | None = None, **more: Any) -> Rules:
    """Return the rules of a new run, with a token of its own; `listen` is an address other than loopback.

    `more` are further fields of the rules.

    >>> make_rules().hosts == LOOPBACK, make_rules("10.0.0.7").knows("10.0.0.7:80")
    (True, True)
    """
    token, larger = secrets.token_urlsafe(24), larger or {}
    if listen is None:
        return Rules(token, larger=larger, **more)
    everywhere = _is_unspecified(listen)
    own = {"" if everywhere else _as_host(listen), socket.gethostname().casefold()} - {""}
    return Rules(token, LOOPBACK | own, everywhere, larger, **more)


def make_app(page: str | None, routes: Sequence[BaseRoute], rules: Rules, **options: Any) -> ASGIApp:
    """Return an app: `page` of the static files at / (None: no page), the routes, and the guard before them.

    Errors of ours become JSON, `{"dfprompt": 1, "error": {"message": ...}}`: 422 for bad input, 500 for
    failures. `options` go to Starlette, such as `lifespan`.
    """
    shown: list[BaseRoute] = []
    if page is not None:
        front = Route("/", lambda request: FileResponse(STATIC / page))
        shown = [front, Mount("/static", _Static(directory=STATIC))]
    app = Starlette(
        routes=[*shown, *routes],
        exception_handlers={
            DFPromptError: _say_error,
            HTTPException: _say_status,
            TooLarge: _say_too_large,
            Exception: _say_fault,
        },
        **options,
    )
    return Guard(app, rules)


class _Static(StaticFiles):
    """The page's own files; a browser asks each time whether they have changed."""

    def file_response(self, *given: Any, **named: Any) -> Response:
        response = super().file_response(*given, **named)
        response.headers["Cache-Control"] = "no-cache"
        return response


def describe_fault(error: BaseException) -> str:
    """Return what to tell a person of an error: one of ours in its own words, another as a fault of ours."""
    if isinstance(error, DFPromptError):
        return str(error)
    if isinstance(error, MemoryError):
        return "out of memory; take smaller pictures, or fewer at once"
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return keep_fault(error)


def describe_error(error: DFPromptError) -> dict[str, Any]:
    """Return an error as JSON: its message and, where a text was misread, the place and the corrections."""
    if not isinstance(error, ParseError):
        return {"message": str(error)}
    fixes = [{"text": fix.apply(error.text), "put": fix.replacement, "note": fix.note} for fix in error.fixes]
    return {**error.to_json(), "fixes": fixes, "advice": error.advice}


def answer_json(values: Mapping[str, Any], status: int = 200) -> Response:
    """Return values as JSON of ASCII alone: a prompt may hold lone surrogates, which have no bytes."""
    text = json.dumps({"dfprompt": 1, **values}, allow_nan=False)
    return Response(text, status, media_type="application/json")


async def read_json(request: Request) -> dict[str, Any]:
    """Return the object that a request sends; raises InputError for anything else."""
    try:
        values = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise InputError("the request holds no JSON") from error
    if not isinstance(values, dict):
        raise InputError(f"the request must hold an object, not {quote(values)}")
    return values


def _say_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DFPromptError)
    return answer_json({"error": describe_error(error)}, 422 if error.exit_code == 2 else 500)


def _say_status(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return say_refusal(error.status_code, error.detail)


def _say_too_large(request: Request, error: Exception) -> Response:
    return say_refusal(413, "the request is too large")


def _say_fault(request: Request, error: Exception) -> Response:
    return answer_json({"error": {"message": describe_fault(error)}}, 500)


def open_socket(place: Place) -> socket.socket:
    """Return the socket a server listens on; raises InputError for a port that cannot be had."""
    host = place.listen or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    ports = range(PORT, PORT + _PORTS_TRIED) if place.port is None else [place.port]
    refused: OSError | None = None
    for port in ports:
        try:
            return socket.create_server((host, port), family=family)
        except (OSError, OverflowError) as error:
            refused = error if isinstance(error, OSError) else OSError(str(error))
    raise InputError(
        f"port {ports[0]} of {host} cannot be had: {refused and (refused.strerror or refused)}; "
        "choose another with --port, or --port 0 for any"
    )


def address_of(bound: socket.socket) -> str:
    """Return the address that a bound socket is opened by, without a path."""
    host, port = bound.getsockname()[:2]
    shown = socket.gethostname() if _is_unspecified(host) else _as_host(host)
    return f"http://{shown}:{port}"


def serve(app: ASGIApp, place: Place, token: str, say: Callable[[str], None]) -> None:
    """Serve until a signal ends it, and tell the address through `say`; opens a browser where asked.

    The token stands behind #, which no browser sends on.
    """
    with open_socket(place) as bound:
        address = f"{address_of(bound)}/#token={token}"
        say(address)
        if place.listen is not None:
            say(
                f"listening on {place.listen}: whoever has this address with its token can draw and read the "
                "history; nothing is encrypted, so use it in networks you trust"
            )
        if place.browser:
            webbrowser.open(address)
        make_server(app).run(sockets=[bound])


def make_server(app: ASGIApp) -> uvicorn.Server:
    """Return what answers for an app: it logs nothing, and so no address and no browser of anybody."""
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, server_header=False, timeout_graceful_shutdown=1
    )
    return uvicorn.Server(config)


def _is_unspecified(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _as_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address.casefold()
