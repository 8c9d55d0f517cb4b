"""Serve LibreHPS (or, with another `load`, any judge) to dfprompt from an environment of its own.

Some judges want another Python or other versions than dfprompt. This file needs nothing but the judge: it
speaks the reward protocol (docs/rewards.md) with the standard library. In the judge's environment:

    python librehps_server.py --token-file token.txt
    dfprompt evaluate ... --judge http://127.0.0.1:8643/ --set remote.token_file=token.txt

For HPSv3, UnifiedReward or VQAScore, put their call into `load`. It has never been run with real weights; the
protocol around it is tested with a stand-in.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import io
import json
import math
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SCHEMA, NAME, BATCH, LARGEST = 1, "librehps", 4, 64 * 2**20
HOSTS = {"127.0.0.1", "localhost", "[::1]"}


def load() -> Callable[[Any, str], float]:
    """Return a function of (PIL picture, prompt) -> score; this is the one place that knows the judge."""
    import librehps  # its page asks for Python 3.12

    scorer = librehps.load()
    return lambda picture, prompt: float(scorer.score_image(picture, prompt).overall.mean)


def scores_of(question: Any, score: Callable[[Any, str], float]) -> list[float]:
    """Return one finite score per item, in order; raises ValueError for what is no question."""
    from PIL import Image

    if not isinstance(question, dict) or question.get("dfprompt_reward") != SCHEMA:
        raise ValueError(f"this server speaks version {SCHEMA} of the reward protocol")
    found = []
    for item in question["items"]:
        picture = Image.open(io.BytesIO(base64.b64decode(item["image"], validate=True)), formats=["PNG"])
        value = score(picture.convert("RGB"), str(item["prompt"]))
        if not math.isfinite(value):
            raise ValueError(f"the judge answered {value}")
        found.append(value)
    return found


def make_server(score: Callable[[Any, str], float], token: str, port: int) -> ThreadingHTTPServer:
    """Return a server on the loopback; `serve_forever()` runs it."""
    one_at_a_time = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        timeout = 60

        def do_GET(self) -> None:
            self.reply(lambda: {"name": NAME, "batch": BATCH})

        def do_POST(self) -> None:
            self.reply(self.score)

        def score(self) -> dict[str, Any]:
            length = int(self.headers.get("Content-Length", "-1"))
            if not 0 <= length <= LARGEST:
                raise ValueError(f"a question has a Content-Length of at most {LARGEST}")
            question = json.loads(self.rfile.read(length))
            with one_at_a_time:
                return {"name": NAME, "scores": scores_of(question, score)}

        def reply(self, work: Callable[[], dict[str, Any]]) -> None:
            asked = self.headers.get("Authorization", "").encode()
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            try:
                if host not in HOSTS or "Origin" in self.headers:
                    status, value = 403, {"error": "only this machine's own programs may ask"}
                elif not hmac.compare_digest(asked, f"Bearer {token}".encode()):
                    status, value = 401, {"error": "the token is missing or wrong"}
                else:
                    status, value = 200, work()
            except Exception as error:  # noqa: BLE001 - whatever the judge does, whoever asked is told
                status, value = 422, {"error": f"{type(error).__name__}: {error}"}
            content = json.dumps({"dfprompt_reward": SCHEMA, **value}).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return ThreadingHTTPServer(("127.0.0.1", port), Handler)


def main() -> None:
    """Read the options and serve until stopped."""
    parser = argparse.ArgumentParser(description="Serve a judge to dfprompt.")
    parser.add_argument("--port", type=int, default=8643)
    parser.add_argument("--token-file", type=Path, required=True)
    options = parser.parse_args()
    token = options.token_file.read_text(encoding="utf-8").strip()
    make_server(load(), token, options.port).serve_forever()


if __name__ == "__main__":
    main()
