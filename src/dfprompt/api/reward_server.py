"""`dfprompt serve-reward`: a reward behind an address, the other side of `--reward http://...`.

Loopback unless another host is named, and a token always: pictures and prompts come from whoever can reach
the port. What a browser sends (an Origin, a foreign Host) is refused, bodies are bounded before they are
read, and one question is scored at a time.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

import torch

from dfprompt.api.rewards import load_reward
from dfprompt.endpoint import keep_token
from dfprompt.errors import ConfigError, DFPromptError, InputError
from dfprompt.requests.doors import front_door
from dfprompt.requests.score import ServeRewardRequest
from dfprompt.rewards import Score
from dfprompt.rewards.wire import KEY, SCHEMA, Question, answer, describe, read_question

LARGEST_BODY = 256 * 2**20
_PATIENCE = 60  # seconds between two packets of a question
_WAITING = 16  # connections; more are answered with "busy"


class Refusal(DFPromptError):
    """A question that is answered with a status and a reason instead of scores."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@dataclass
class RewardService:
    """What a server does, without its sockets: who may ask, and what is answered.

    token: what a question must carry; None lets everybody in. hosts: the names by which the server is known,
    as a Host header says them, without their port.
    """

    score: Score
    token: str | None
    hosts: frozenset[str]
    batch: int = 8
    largest_body: int = LARGEST_BODY
    _one_at_a_time: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, headers: Mapping[str, str]) -> None:
        """Raise Refusal for a question that another page's script or a stranger asks."""
        if _host(headers.get("Host") or "") not in self.hosts:
            raise Refusal(400, "this server is not known by that Host; --allow-host NAME adds one")
        if headers.get("Origin") is not None or headers.get("Sec-Fetch-Site", "none") != "none":
            raise Refusal(403, "pages in a browser may not ask")
        given = (headers.get("Authorization") or "").encode("utf-8", "replace")
        if self.token is not None and not hmac.compare_digest(given, f"Bearer {self.token}".encode()):
            raise Refusal(401, "the token is missing or wrong")

    def length(self, headers: Mapping[str, str]) -> int:
        """Return how long a question's body is; raises Refusal for one without a length, or too long."""
        if (headers.get("Content-Type") or "").partition(";")[0].strip().lower() != "application/json":
            raise Refusal(415, "a question is application/json")
        told = headers.get("Content-Length") or ""
        if headers.get("Transfer-Encoding") is not None or not (told.isascii() and told.isdigit()):
            raise Refusal(411, "a question needs its Content-Length")
        if len(told) > 12 or int(told) > self.largest_body:
            raise Refusal(413, f"a question may have {self.largest_body} bytes at most; send fewer pictures")
        return int(told)

    def describe(self) -> dict[str, Any]:
        """Return what a GET shows."""
        return describe(self.score.name, self.batch, self.score.measures)

    def reply(self, body: bytes) -> dict[str, Any]:
        """Return the scores of a question; raises Refusal for what is none and for a score that fails."""
        try:
            question = read_question(json.loads(body), self.batch)
        except (InputError, ValueError, RecursionError) as error:
            raise Refusal(400, f"not a question: {error}") from error
        try:
            with self._one_at_a_time:
                return answer(self.score.name, _scores(self.score, question))
        except DFPromptError as error:
            raise Refusal(422, str(error)) from error
        except Exception as error:  # a score may be anybody's; whoever asked is told, and may ask again
            raise Refusal(500, f"{type(error).__name__}: {error}") from error


def _scores(score: Score, question: Question) -> list[float]:
    """Score pictures in batches of one size, each at its place in the answer."""
    found: dict[int, float] = {}
    sizes: dict[tuple[int, ...], list[int]] = {}
    for row, image in enumerate(question.images):
        sizes.setdefault(tuple(image.shape), []).append(row)
    for rows in sizes.values():
        images = torch.stack([question.images[row] for row in rows])
        prompts = [question.prompts[row] for row in rows]
        values = score(images, prompts, [question.records[row] for row in rows])
        found |= dict(zip(rows, values.tolist(), strict=True))
    return [found[row] for row in range(len(question.images))]


def _host(header: str) -> str:
    """Return the name of a Host header without its port.

    >>> _host("127.0.0.1:8000"), _host("[::1]:8000"), _host("127.0.0.1.evil")
    ('127.0.0.1', '::1', '127.0.0.1.evil')
    """
    name = header.rpartition("]")[0].lstrip("[") if header.startswith("[") else header.partition(":")[0]
    return name.lower()


class RewardServer(ThreadingHTTPServer):
    """A service on a host and port; `serve_forever` runs it, `url` is where it is."""

    daemon_threads = True
    request_queue_size = _WAITING

    def __init__(self, service: RewardService, host: str = "127.0.0.1", port: int = 0) -> None:
        self.service = service
        try:
            super().__init__((host, port), _Handler)
        except (OSError, OverflowError) as error:
            raise ConfigError(f"cannot listen on {host}, port {port}: {error}") from error

    @property
    def url(self) -> str:
        """The address to give to `--reward`."""
        host, port = self.server_address[:2]
        return f"http://{host!s}:{port}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no fault; whatever else is wrong was answered already."""


class _Handler(BaseHTTPRequestHandler):
    server: RewardServer
    timeout = _PATIENCE
    server_version = "dfprompt"
    sys_version = ""

    def do_GET(self) -> None:
        """Say what is served."""
        self._answer(self.server.service.describe)

    def do_POST(self) -> None:
        """Score a question."""
        self._answer(self._score)

    def _score(self) -> dict[str, Any]:
        length = self.server.service.length(dict(self.headers.items()))
        body = self.rfile.read(length)
        if len(body) < length:
            raise Refusal(400, "the question ended before its length")
        return self.server.service.reply(body)

    def _answer(self, work: Callable[[], dict[str, Any]]) -> None:
        try:
            self.server.service.admit(_single(self.headers))
            status, value = 200, work()
        except Refusal as refusal:
            status, value = refusal.status, {KEY: SCHEMA, "error": str(refusal)}
        except TimeoutError:
            status, value = 408, {KEY: SCHEMA, "error": "the question did not arrive in time"}
        content = json.dumps(value, allow_nan=False).encode()
        self.close_connection = True
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep prompts and addresses out of the terminal."""


def _single(headers: Any) -> dict[str, str]:
    """Return the headers by name; one that is sent twice is sent with what no check lets through."""
    return {name: ", ".join(headers.get_all(name)) for name in headers}


@front_door(ServeRewardRequest, "reward")
def open_reward_server(request: ServeRewardRequest, *, score: Score | None = None) -> RewardServer:
    """Return a server of a reward, listening and not yet answering; `serve_forever()` runs it.

    The token is that of `token_file`, which is written where it is not there, or of DFPROMPT_TOKEN. Raises
    ConfigError for a host other machines can reach without --listen, for a port that is taken and for a
    token that cannot be kept; what `load_reward` raises.
    """
    if not _is_loopback(request.host) and not request.listen:
        raise ConfigError(
            f"{request.host} can be reached from other machines; add --listen if that is wanted, and put "
            "TLS in front: token and pictures travel in the open"
        )
    token = keep_token(request.token_file)
    if token is None:
        raise ConfigError("a reward server needs a token: --token-file FILE makes one")
    loaded = score or load_reward(
        request.reward,
        device=request.device,
        dtype=request.dtype,
        allow_code=request.allow_code,
        assignments=request.assignments,
    )
    hosts = frozenset(
        {"127.0.0.1", "localhost", "::1", request.host.lower(), *map(str.lower, request.allow_host)}
    )
    return RewardServer(RewardService(loaded, token, hosts, request.batch), request.host, request.port)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
