"""What a request must be before anything answers it: for us, from our own page, with the token, small enough.

Any web page that a user visits can send requests to this machine; only what the checks below let through
reaches a route. They hold for every method and every path.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER = "x-dfprompt-token"
LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
MAX_BODY = 2**20
"""Bytes a request may send, unless its path is given more."""
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; base-uri 'none'; "
        "form-action 'none'; object-src 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/\\\s]+)(?::\d{1,5})?")
_SHELL = "/static/"  # with GET /, all that is answered without a token: it holds nobody's data


@dataclass(frozen=True)
class Rules:
    """What a server lets through: its token, the names it answers to, and how much it reads.

    `hosts` are names as a Host header has them, without a port; `any_address` also lets IP addresses
    through, which no name can be bound to later. `larger` gives single paths more bytes than MAX_BODY.
    Where everyone has a token of their own, `others` says whether one is known, and `doors` are the paths
    at which somebody gets one. `origins` are further addresses of our page: what a proxy is found under.
    """

    token: str
    hosts: frozenset[str] = LOOPBACK
    any_address: bool = False
    larger: Mapping[str, int] = field(default_factory=dict)
    others: Callable[[str], bool] | None = None
    doors: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()

    def admits(self, given: str) -> bool:
        """Return whether a token is the run's, or somebody's own.

        >>> Rules("t").admits("t"), Rules("t").admits(""), Rules("t", others="abc".__contains__).admits("b")
        (True, False, True)
        """
        ours = secrets.compare_digest(given.encode(), self.token.encode())
        return ours or (self.others is not None and self.others(given))

    def knows(self, host: str) -> bool:
        """Return whether a Host header names this server.

        >>> Rules("t").knows("localhost:8601"), Rules("t").knows("127.0.0.1.evil"), Rules("t").knows("")
        (True, False, False)
        """
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = found[1].casefold()
        return name in self.hosts or (self.any_address and _is_address(name))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


class TooLarge(Exception):
    """A request that goes on sending beyond its limit."""


class Guard:
    """ASGI middleware: refuses what the rules do not let through, and puts HEADERS on every answer."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # a websocket: nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        most = self.rules.larger.get(scope["path"], MAX_BODY)
        refused = refuse(self.rules, scope, most)
        if refused is not None:
            status, why = refused
            await say_refusal(status, why)(scope, receive, answer)
            return
        await self.app(scope, _limited(receive, most), answer)


def refuse(rules: Rules, scope: Scope, most: int) -> tuple[int, str] | None:
    """Return status and reason for a request that may not pass; None for one that may."""
    headers = Headers(scope=scope)
    hosts = headers.getlist("host")
    if len(hosts) != 1 or not rules.knows(hosts[0]):
        return 400, "this server has another name; open the address that the terminal shows"
    origins = headers.getlist("origin")
    if origins and origins != [f"http://{hosts[0]}"] and not rules.origins.issuperset(origins):
        return 403, "the request comes from another page"
    to_front = scope["method"] in ("GET", "HEAD") and scope["path"] == "/"
    site = headers.get("sec-fetch-site", "none")
    followed = to_front and headers.get("sec-fetch-mode") == "navigate"  # a link to us is no harm
    if site not in ("none", "same-origin") and not followed:
        return 403, "the request comes from another site"
    shell = scope["method"] in ("GET", "HEAD") and scope["path"].startswith(_SHELL)
    scheme, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get(TOKEN_HEADER) or (bearer.strip() if scheme.lower() == "bearer" else "")
    if not (to_front or shell or scope["path"] in rules.doors or rules.admits(given)):
        status = 401 if bearer else 403
        return (
            status,
            "the token is missing or another run's; the terminal that runs the server shows where it is",
        )
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > most:
        return 413, f"more than {most:,} bytes"
    return None


def say_refusal(status: int, why: str) -> JSONResponse:
    """Return the answer to a request that is refused."""
    return JSONResponse({"dfprompt": 1, "error": {"message": why}}, status)


def _limited(receive: Receive, most: int) -> Receive:
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > most:
            raise TooLarge
        return message

    return counted
