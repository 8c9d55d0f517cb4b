"""`dfprompt serve`: the common client's image calls, 64 at once, in order, cancelled, refused in words."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

from asgi import HOST, call
from dfprompt.api.pipelines import generate_images, load_pipeline
from dfprompt.images.metadata import find_metadata
from dfprompt.images.reading import text_of_bytes
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.serve import ServeRequest
from dfprompt.web.generations import Generations, make_generations
from dfprompt.web.guard import Rules
from dfprompt.web.jobs import MOST_WAITING, Jobs
from dfprompt.web.remarks import listen_to_warnings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
TEXT = "a red house in the snow, [watercolor:late]"
KEY = {"authorization": "Bearer t"}
PATH = "/v1/images/generations"


@pytest.fixture(scope="module")
def pipeline() -> ImagePipeline:
    return load_pipeline("mini")


class Running:
    """A server without a socket, and what it was asked so far."""

    def __init__(self, pipeline: ImagePipeline, **asked: Any) -> None:
        self.jobs = Jobs()
        self.app = make_generations(Generations(ServeRequest(**asked), pipeline, self.jobs), Rules("t"))

    def ask(self, path: str = PATH, key: str = "t", **body: Any) -> Any:
        sent = json.dumps(body).encode() if body else b""
        method = "POST" if body else "GET"
        return call(self.app, method, path, {"authorization": f"Bearer {key}"}, sent)


@pytest.fixture
def running(pipeline: ImagePipeline) -> Iterator[Running]:
    made = Running(pipeline)
    made.jobs.start()
    yield made
    made.jobs.stop()


def pixels(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as opened:
        return opened.convert("RGB").tobytes()


def drawn(text: str, seeds: list[int], pipeline: ImagePipeline, **settings: Any) -> list[bytes]:
    return [
        image.tobytes() for image in to_pil(generate_images(text, seeds, pipeline, settings=settings).images)
    ]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A server in a process of its own: where it is, and its token."""
    token = tmp_path_factory.mktemp("serve") / "token.txt"
    command = [sys.executable, "-u", "-m", "dfprompt", "serve", "--port", "0", "--json"]
    process = subprocess.Popen(
        [*command, "--token-file", str(token)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "ignore"},
    )
    assert process.stdout is not None
    told = json.loads(process.stdout.readline())
    assert token.read_text().strip() == told["token"]
    assert token.stat().st_mode & 0o077 == 0
    yield told
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=30)
    process.stdout.close()


@pytest.mark.enable_socket
def test_the_common_client_draws_a_df_prompt(served: dict[str, str], pipeline: ImagePipeline) -> None:
    openai = pytest.importorskip("openai")
    with openai.OpenAI(base_url=served["url"], api_key=served["token"]) as client:
        assert [model.id for model in client.models.list()] == [pipeline.name]
        found = client.images.generate(
            model="dall-e-3", prompt=TEXT, n=2, size="64x64", quality="hd", extra_body={"seed": 5}
        )
        files = [base64.b64decode(each.b64_json) for each in found.data]
        assert [pixels(each) for each in files] == drawn(TEXT, [5, 6], pipeline)
        recipe = find_metadata(text_of_bytes(files[1]))
        assert (recipe.df_prompt, recipe.seed) == (TEXT, 6)
        assert [each.revised_prompt for each in found.data] == [None, None]

        asked: dict[str, Any] = {"model": "mini", "prompt": "a red house in the snow", "n": 1}
        revised = client.images.generate(**asked, extra_body={"seed": 5, "rewrite": True}).data[0]
        assert revised.revised_prompt.startswith("a red house in the snow, [")
        asked["prompt"] = revised.revised_prompt
        again = client.images.generate(**asked, extra_body={"seed": 5}).data[0]
        assert pixels(base64.b64decode(again.b64_json)) == pixels(base64.b64decode(revised.b64_json))

        address = client.images.generate(**asked, response_format="url", extra_body={"seed": 5}).data[0].url
        bearer = {"Authorization": f"Bearer {served['token']}"}
        with urllib.request.urlopen(urllib.request.Request(address, headers=bearer), timeout=60) as answer:
            assert pixels(answer.read()) == pixels(base64.b64decode(again.b64_json))
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(address, timeout=60)

        for wrong, said in (
            ({"prompt": "a [cat:0-1]"}, "no arrow"),
            ({"prompt": "a cat", "n": 17}, "at most 16"),
            ({"prompt": "a cat", "size": "big"}, "size"),
            ({"prompt": "a cat", "extra_body": {"sted": 5}}, "seed"),
            ({"prompt": "a cat", "output_format": "webp"}, "png"),
        ):
            with pytest.raises(openai.BadRequestError, match=said):
                client.images.generate(model="mini", **wrong)
    with openai.OpenAI(base_url=served["url"], api_key="another") as client:
        with pytest.raises(openai.AuthenticationError, match="token"):
            client.images.generate(model="mini", prompt="a cat")


@pytest.mark.enable_socket
@pytest.mark.nightly
def test_sixty_four_at_once_are_all_answered(served: dict[str, str], pipeline: ImagePipeline) -> None:
    openai = pytest.importorskip("openai")

    async def ask_all() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=served["url"], api_key=served["token"]) as client:
            asked = [
                client.images.generate(
                    model="mini", prompt="a red house", extra_body={"seed": seed, "num_inference_steps": 2}
                )
                for seed in range(64)
            ]
            return await asyncio.gather(*asked)

    answers = asyncio.run(ask_all())
    files = [pixels(base64.b64decode(answer.data[0].b64_json)) for answer in answers]
    assert len(set(files)) == 64
    for seed in (0, 31, 63):
        assert [files[seed]] == drawn("a red house", [seed], pipeline, num_inference_steps=2)


def asked_at_once(running: Running, bodies: list[dict[str, Any]], leaving: set[int]) -> list[tuple[int, int]]:
    """Send requests in order and at once; those in `leaving` hang up. Returns who was answered, and how."""
    answered: list[tuple[int, int]] = []

    async def ask(number: int, body: dict[str, Any]) -> None:
        sent = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

        async def receive() -> dict[str, Any]:
            if sent:
                return sent.pop()
            if number in leaving:
                return {"type": "http.disconnect"}
            await asyncio.Event().wait()
            raise AssertionError

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answered.append((number, message["status"]))

        headers = [(b"host", HOST.encode()), (b"authorization", b"Bearer t")]
        scope = {
            "type": "http",
            "method": "POST",
            "path": PATH,
            "raw_path": PATH.encode(),
            "headers": headers,
        }
        more = {"query_string": b"", "scheme": "http", "server": ("127.0.0.1", 1), "root_path": ""}
        await running.app(scope | more | {"http_version": "1.1"}, receive, send)  # type: ignore[arg-type]

    async def run() -> None:
        await asyncio.gather(*(ask(number, body) for number, body in enumerate(bodies)))

    asyncio.run(run())
    return answered


def test_every_client_is_answered_in_the_order_it_asked(running: Running) -> None:
    bodies = [{"prompt": "a cat", "user": f"u{n % 4}", "num_inference_steps": 1} for n in range(64)]
    assert asked_at_once(running, bodies, set()) == [(number, 200) for number in range(64)]


def test_who_leaves_ends_its_request_and_nobody_elses(running: Running) -> None:
    long = {"prompt": "a cat", "num_inference_steps": 1000, "n": 16}
    short = {"prompt": "a cat", "num_inference_steps": 1}
    answered = asked_at_once(running, [long, short, long, short, short], {0, 2, 3})
    assert [number for number, status in answered if status == 200] == [1, 4]
    states = [job.state for job in sorted(running.jobs._jobs.values(), key=lambda job: job.id)]
    assert states == ["cancelled", "done", "cancelled", "cancelled", "done"]


def test_more_than_can_wait_are_told_to_come_back(pipeline: ImagePipeline) -> None:
    asleep, several = Running(pipeline), range(MOST_WAITING, MOST_WAITING + 20)
    answered = asked_at_once(asleep, [{"prompt": "a cat"}] * (MOST_WAITING + 20), set(range(MOST_WAITING)))
    assert [each for each in answered if each[1] != 503] == [(number, 429) for number in several]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": 7}, "prompt"),
        ({"n": 1}, "prompt"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "size": "8x"}, "size"),
        ({"prompt": "a", "size": "63x64"}, "multiples of 8"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "a", "stream": True}, "stream"),
        ({"prompt": "a", "negative_prompt": "[x"}, "closed"),
        ({"prompt": "a", "scheduler": "none"}, "scheduler"),
        ({"prompt": "a", "num_inference_steps": 10**9}, "num_inference_steps"),
        ({"prompt": "a", "colour": "red"}, "colour"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(running: Running, body: dict[str, Any], said: str) -> None:
    answer = running.ask(**body)
    assert answer.status == 400, answer.body
    assert said in answer.json["error"]["message"]
    assert answer.json["error"]["type"] == "invalid_request_error"


def test_it_is_as_safe_as_the_studio(running: Running) -> None:
    for key, status in (("t", 200), ("other", 401)):
        assert running.ask("/v1/models", key=key).status == status
    for headers in ({}, {**KEY, "host": "evil.example"}, {**KEY, "origin": "http://evil.example"}):
        assert call(running.app, "GET", "/v1/models", headers).status in (400, 403)
    for path in ("/", "/static/studio.js", "/v1/images/../models", "/v1/images/0", "/api/state"):
        assert running.ask(path).status == 404
    asked = running.ask("/v1/images/edits", prompt="a cat")  # a method of the common client's
    assert asked.status == 404
    assert "ask POST /v1/images/generations" in asked.json["error"]["message"]
    large = json.dumps({"prompt": "a" * 2**20}).encode()
    assert call(running.app, "POST", PATH, KEY, large).status == 413


def test_words_by_turns_and_remarks_and_the_servers_own_settings(
    pipeline: ImagePipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # which listening replaces
    made = Running(pipeline, num_inference_steps=4, negative_prompt="[mist:early]", rewrite=True)
    listen_to_warnings()
    made.jobs.start()
    try:
        first = made.ask(prompt="a [red|blue] house", seed=3, rewrite=False).json
        second = made.ask(prompt="(a house:1.2) [x:0.01->0]", seed=3).json
    finally:
        made.jobs.stop()
    recipe = find_metadata(text_of_bytes(base64.b64decode(first["data"][0]["b64_json"])))
    assert recipe.settings["num_inference_steps"] == 4
    assert recipe.negative_prompt == "[mist:early]"
    assert recipe.df_prompt == "a [red:1->0.8][blue:0.8->0.5][red:0.5->0.3][blue:0.3->0] house"
    assert second["data"][0]["revised_prompt"].startswith("(a house:1.2) [x:0.01->0]")
    assert any("none of the 4 steps" in remark for remark in second["remarks"])
