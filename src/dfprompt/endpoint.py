"""JSON over HTTP to a server of the user's choice: time limits, retries with back-off, no redirect, no proxy.

What comes back is untrusted: its size is bounded, and it is JSON of finite numbers or an error.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dfprompt.errors import ConfigError, EndpointError
from dfprompt.excerpt import quote
from dfprompt.storage import MOST_SETTINGS, read_user_text, write_secret

if TYPE_CHECKING:  # a request that is refused needs no sockets: they cost a twentieth of its time
    import http.client
    import socket

TOKEN_VARIABLE = "DFPROMPT_TOKEN"
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})  # may be otherwise a moment later
_LARGEST_ANSWER = 16 * 2**20
_LONGEST_PAUSE = 60.0
_CHUNK = 65536


def is_url(source: object) -> bool:
    """Return whether a source is meant as the address of a server.

    >>> is_url("http://127.0.0.1:8000"), is_url("reward.toml")
    (True, False)
    """
    return isinstance(source, str) and source.lower().startswith(("http://", "https://"))


def check_url(url: str) -> None:
    """Raise ConfigError for what is no http address, and for one that carries a password.

    >>> check_url("http://me:secret@host/")
    Traceback (most recent call last):
        ...
    dfprompt.errors.ConfigError: an address with a password would be written into every file; give the \
token as DFPROMPT_TOKEN or in a token file
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigError(f"{quote(url)} is no address: {error}") from error
    if parts.username is not None or parts.password is not None:
        raise ConfigError(
            "an address with a password would be written into every file; give the token as "
            f"{TOKEN_VARIABLE} or in a token file"
        )
    whole = parts.scheme in ("http", "https") and host and not parts.fragment
    if not whole or any(letter.isspace() or not letter.isprintable() for letter in url):
        raise ConfigError(f"{quote(url)} is no address; write http://HOST:PORT/")


def read_token(file: Path | None) -> str | None:
    """Return the token of a file, else of the variable DFPROMPT_TOKEN, else None; raises ConfigError."""
    text = os.environ.get(TOKEN_VARIABLE, "")
    if file is not None:
        text = read_user_text(file, ConfigError, most=MOST_SETTINGS, advice="a token file holds one word")
    token = text.strip()
    if not token.isascii() or any(not letter.isprintable() or letter == " " for letter in token):
        raise ConfigError(f"the token of {file or TOKEN_VARIABLE} is not one word of ASCII")
    return token or None


def keep_token(file: Path | None) -> str | None:
    """Return the token of a file, made where it is not there so that only the user can read it.

    Without a file, that of DFPROMPT_TOKEN, else None. Raises ConfigError as `read_token` does.
    """
    if file is None or os.path.lexists(file):
        return read_token(file)
    token = secrets.token_urlsafe(32)
    write_secret(file, token + "\n")
    return token


@dataclass(frozen=True)
class Endpoint:
    """A server's address and how long to be patient with it.

    url: http or https. token: sent as a bearer token, never shown. timeout: seconds for one whole exchange.
    retries: how often a request is repeated after no answer, a broken one, or "busy" (408, 429, 5xx).
    backoff: seconds before the first repetition, doubled each time; a Retry-After is followed up to 60 s.
    Raises ConfigError for what is no address.
    """

    url: str
    token: str | None = field(default=None, repr=False)
    timeout: float = 120.0
    retries: int = 3
    backoff: float = 1.0

    def __post_init__(self) -> None:
        check_url(self.url)

    def get(self) -> Any:
        """Return the JSON that the address shows; raises EndpointError."""
        return self._ask("GET", None)

    def post(self, value: Any) -> Any:
        """Return the JSON answer to a JSON question; raises EndpointError."""
        return self._ask("POST", json.dumps(value, allow_nan=False).encode())

    def _ask(self, verb: str, body: bytes | None) -> Any:
        import http.client

        for attempt in range(self.retries + 1):
            pause = self.backoff * 2**attempt
            try:
                status, content, wait = self._exchange(verb, body)
            except (OSError, http.client.HTTPException) as error:
                problem = f"no answer ({_sentence(error)})"
            else:
                if status == 200:
                    return _read_json(content, self.url)
                problem = f"status {status}{_said(content)}"
                if status not in _BUSY:
                    raise EndpointError(f"{self.url}: {problem}{_advice(status)}")
                pause = max(pause, wait)
            if attempt < self.retries:
                time.sleep(min(pause, _LONGEST_PAUSE))
        raise EndpointError(f"{self.url}: {problem}, asked {self.retries + 1} times")

    def _exchange(self, verb: str, body: bytes | None) -> tuple[int, bytes, float]:
        """Return status, content and the seconds to wait that the server asks for."""
        import http.client

        parts, ends = urlsplit(self.url), time.monotonic() + self.timeout
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(str(parts.hostname), parts.port, timeout=self.timeout)
        headers = {"Accept": "application/json", "Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(verb, path, body, headers)
            answer = connection.getresponse()
            return answer.status, _read(answer, connection.sock, ends), _seconds(answer)
        finally:
            connection.close()


def _read(answer: http.client.HTTPResponse, sock: socket.socket | None, ends: float) -> bytes:
    """Read all of an answer within the time left, however slowly it drips."""
    import http.client

    content = bytearray()
    while chunk := answer.read1(_CHUNK):
        content += chunk
        if len(content) > _LARGEST_ANSWER:
            raise http.client.HTTPException(f"more than {_LARGEST_ANSWER} bytes")
        left = ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out while reading")
        if sock is not None and sock.fileno() >= 0:
            sock.settimeout(left)
    if answer.length:  # read1 ends quietly where the connection did
        raise http.client.IncompleteRead(bytes(content), answer.length)
    return bytes(content)


def _seconds(answer: http.client.HTTPResponse) -> float:
    told = answer.getheader("Retry-After", "")
    return float(told) if told.isascii() and told.isdigit() else 0.0


def _read_json(content: bytes, url: str) -> Any:
    def refuse(word: str) -> None:
        raise ValueError(f"{word} is no number")

    try:
        return json.loads(content, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        shown = quote(content[:80].decode("utf-8", "replace"))
        raise EndpointError(f"{url}: the answer is not JSON ({_sentence(error)}): {shown}") from error


def _said(content: bytes) -> str:
    """Return what an error's body says, as ": reason"; nothing where it says nothing."""
    try:
        value = json.loads(content)
        told = value.get("error") if isinstance(value, dict) else None
        told = told.get("message") if isinstance(told, dict) else told
    except (ValueError, RecursionError):
        told = None
    return f": {quote(told, 200)}" if isinstance(told, str) else ""


def _advice(status: int) -> str:
    if status in (401, 403):
        return f"; give the server's token as {TOKEN_VARIABLE}, or in a token file"
    return "; redirects are not followed, name the address itself" if 300 <= status < 400 else ""


def _sentence(error: BaseException) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__
