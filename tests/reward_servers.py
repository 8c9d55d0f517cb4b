"""Reward servers on the loopback: ours, and ones that misbehave in every way a server can."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from dfprompt.rewards import Score, as_score
from dfprompt.rewards.wire import answer, describe, read_question

Reply = Callable[["Handler", bytes], None]


def brightness(images: Any, prompts: Any, records: Any = None) -> Any:
    """Mean level and a little of the prompt's length, so that rows differ by both."""
    return images.mean((1, 2, 3)) + 0.01 * images.new_tensor([len(prompt) for prompt in prompts])


class Handler(BaseHTTPRequestHandler):
    """Answers a GET as a reward server does, and a POST with the next of the server's replies."""

    server: Misbehaving

    def do_GET(self) -> None:
        self.send(200, self.server.described)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        reply = server.replies[min(server.asked, len(server.replies) - 1)]
        server.asked += 1
        reply(self, body)

    def send(self, status: int, value: Any, **headers: str) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


class Misbehaving(ThreadingHTTPServer):
    """A server with a list of replies, the last of which is repeated."""

    daemon_threads = True

    def __init__(self, replies: list[Reply], described: Any) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.described, self.asked = replies, described, 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A dropped connection is what these tests are about."""


def good(handler: Handler, body: bytes) -> None:
    """Answer as one should."""
    handler.send(200, answer("judge", scores_of(body)))


def scores_of(body: bytes) -> list[float]:
    """The right scores of a question."""
    question = read_question(json.loads(body))
    rows = zip(question.images, question.prompts, strict=True)
    return [float(brightness(image[None], [prompt])) for image, prompt in rows]


def say(value: Any, status: int = 200, **headers: str) -> Reply:
    """Answer with anything at all."""
    return lambda handler, body: handler.send(status, value, **headers)


def drop(handler: Handler, body: bytes) -> None:
    """Die in the middle of an answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"dfprompt_reward": 1, ')
    handler.close_connection = True


def hang(handler: Handler, body: bytes) -> None:
    """Say nothing for longer than anybody waits."""
    time.sleep(1.0)


def drip(handler: Handler, body: bytes) -> None:
    """Send a byte now and then: no single wait is long."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    for _ in range(40):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


@contextmanager
def serving(server: Any) -> Iterator[Any]:
    """Run a server in a thread while the block lasts."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def misbehaving(*replies: Reply, described: Any = None) -> Iterator[tuple[str, Misbehaving]]:
    """The address of a server with these replies, and the server."""
    shown = describe("judge", 4) if described is None else described
    with serving(Misbehaving(list(replies) or [good], shown)) as server:
        yield f"http://127.0.0.1:{server.server_address[1]}/", server


def bright() -> Score:
    """The score the good servers give."""
    return as_score(brightness, "judge")
