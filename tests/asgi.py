"""Requests to an app without a socket: what a browser sends, and what comes back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp

HOST = "127.0.0.1:8601"


class Answer(NamedTuple):
    """Status, headers and body."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def call(
    app: ASGIApp,
    method: str = "GET",
    path: str = "/",
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
    *,
    pieces: int = 1,
) -> Answer:
    """Send one request; a header of None is left out, and `pieces` parts its body."""
    path, _, query = path.partition("?")
    sent = {"host": HOST, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(k.encode(), v.encode()) for k, v in sent.items() if v is not None],
        "scheme": "http",
        "server": ("127.0.0.1", 8601),
        "http_version": "1.1",
        "root_path": "",
    }
    size = -(-len(body) // pieces) or 1
    parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
    waiting = [
        {"type": "http.request", "body": part, "more_body": at + 1 < len(parts)}
        for at, part in enumerate(parts)
    ]
    answered: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not waiting:
            await asyncio.Event().wait()  # the browser stays until it has the answer
        return waiting.pop(0)

    async def send(message: dict[str, Any]) -> None:
        answered.append(message)

    async def run() -> None:
        await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(run())
    start = next(each for each in answered if each["type"] == "http.response.start")
    content = b"".join(each.get("body", b"") for each in answered if each["type"] == "http.response.body")
    return Answer(start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, content)
