"""`dfprompt serve-reward`: the same numbers as in process, for those who may ask, within bounds."""

from __future__ import annotations

import http.client
import json
import math
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from dfprompt.api.reward_server import RewardServer, RewardService, open_reward_server
from dfprompt.errors import ConfigError, LoadError, RewardServerError
from dfprompt.rewards import RemoteScore, RemoteSettings, as_score, wire
from reward_servers import bright, brightness, serving
from tiny_rewards import pictures, prompts

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


@pytest.fixture
def server() -> Iterator[RewardServer]:
    service = RewardService(bright(), "t0ken", frozenset({"127.0.0.1", "localhost", "::1"}), batch=4)
    service.largest_body = 300_000
    with serving(RewardServer(service)) as running:
        yield running


def _ask(
    server: RewardServer, verb: str = "POST", body: bytes | None = None, **headers: str | None
) -> tuple[int, Any]:
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    question = json.dumps(wire.ask(pictures(1), prompts(1))).encode() if body is None else body
    sent: dict[str, str | None] = {
        "Host": f"127.0.0.1:{port}",
        "Authorization": "Bearer t0ken",
        "Content-Type": "application/json",
        "Content-Length": str(len(question)) if verb == "POST" else None,
    }
    connection.putrequest(verb, "/", skip_host=True)
    for name, text in {**sent, **{k.replace("_", "-"): v for k, v in headers.items()}}.items():
        if text is not None:
            connection.putheader(name, text)
    connection.endheaders(question if verb == "POST" else None)
    answer = connection.getresponse()
    content = json.loads(answer.read())
    connection.close()
    return answer.status, content


def test_scores_over_the_wire_are_the_scores_of_the_reward(server: RewardServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t0ken")
    score = RemoteScore(server.url, RemoteSettings(token_file=str(tmp_path / "token")))
    assert (score.name, score.described.batch) == ("judge", 4)
    found = score(pictures(9), prompts(9))
    torch.testing.assert_close(found, bright()(pictures(9), prompts(9)), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Host": "localhost"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Host": "evil.example"}, 400),
        ({"Host": "127.0.0.1.evil"}, 400),
        ({"Host": ""}, 400),
        ({"Host": None}, 400),
        ({"Authorization": None}, 401),
        ({"Authorization": "Bearer t0keN"}, 401),
        ({"Authorization": "Bearer t0ken\u00e9"}, 401),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Content_Type": "text/plain"}, 415),
        ({"Content_Length": None}, 411),
        ({"Content_Length": "-1"}, 411),
        ({"Content_Length": "300001"}, 413),
        ({"Content_Length": "9" * 5000}, 413),
    ],
)
def test_who_may_ask_and_how(server: RewardServer, headers: dict[str, str | None], status: int) -> None:
    answered, content = _ask(server, **headers)
    assert answered == status
    assert ("scores" in content) == (status == 200)
    assert content["dfprompt_reward"] == 1


def test_a_get_needs_the_token_as_well(server: RewardServer) -> None:
    assert _ask(server, "GET", Authorization=None)[0] == 401
    assert _ask(server, "GET") == (200, {"dfprompt_reward": 1, "name": "judge", "batch": 4})


@pytest.mark.parametrize(
    ("question", "said"),
    [
        (b"{", "not a question"),
        (b"[" * 100_000, "not a question"),
        (json.dumps({"dfprompt_reward": 2, "items": []}).encode(), "version 2 "),
        (json.dumps({"dfprompt_reward": 1, "items": {}}).encode(), "no list of items"),
        (json.dumps({"dfprompt_reward": 1, "items": [1]}).encode(), "item 0: an object"),
        (json.dumps({"dfprompt_reward": 1, "items": [{"prompt": "a"}]}).encode(), "item 0: the image"),
        (
            json.dumps({"dfprompt_reward": 1, "items": [{"prompt": "a", "image": "?"}]}).encode(),
            "item 0: the image is not base64",
        ),
        (
            json.dumps({"dfprompt_reward": 1, "items": [{"prompt": "a", "image": "AAAA"}]}).encode(),
            "item 0: the image: not a picture",
        ),
        (json.dumps(wire.ask(pictures(5, 8, 8), prompts(5))).encode(), "5 pictures at once are more than 4"),
    ],
)
def test_what_is_no_question_is_named(server: RewardServer, question: bytes, said: str) -> None:
    status, content = _ask(server, body=question)
    assert status == 400
    assert said in content["error"]


def test_pictures_of_several_sizes_come_back_in_their_order(server: RewardServer) -> None:
    small, large = pictures(2, 16, 16), pictures(2, 24, 16)
    items = [
        wire.ask(each[None], [text])["items"][0]
        for each, text in zip([small[0], large[0], small[1]], prompts(3), strict=True)
    ]
    _, content = _ask(server, body=json.dumps({"dfprompt_reward": 1, "items": items}).encode())
    expected = [
        float(brightness(each[None], [text]))
        for each, text in zip([small[0], large[0], small[1]], prompts(3), strict=True)
    ]
    assert content["scores"] == pytest.approx(expected, abs=1e-6)


def test_a_reward_that_fails_is_no_score(server: RewardServer) -> None:
    def crash(images, prompts, records=None):
        raise ZeroDivisionError("division by zero")

    server.service.score = as_score(crash, "judge")
    status, content = _ask(server)
    assert status == 422
    assert "crashed: ZeroDivisionError" in content["error"]


def test_a_token_is_made_for_its_owner_alone_and_used_again(tmp_path: Path) -> None:
    file = tmp_path / "keys" / "token"
    made = open_reward_server(reward="x", port=0, token_file=file, score=bright())
    made.server_close()
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_text().strip()) >= 32
    again = open_reward_server(reward="x", port=0, token_file=file, score=bright())
    again.server_close()
    assert again.service.token == made.service.token == file.read_text().strip()


def test_no_server_without_a_token_and_none_for_others_unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DFPROMPT_TOKEN", raising=False)
    with pytest.raises(ConfigError, match="needs a token"):
        open_reward_server(reward="x", port=0, score=bright())
    with pytest.raises(ConfigError, match="--listen"):
        open_reward_server(reward="x", host="0.0.0.0", port=0, score=bright())


def test_the_example_server_speaks_the_protocol_with_the_standard_library(tmp_path: Path) -> None:
    example = runpy.run_path(str(ROOT / "recipes" / "reward-servers" / "librehps_server.py"))
    (tmp_path / "token").write_text("t0ken")
    settings = RemoteSettings(token_file=str(tmp_path / "token"), retries=0)

    def judge(picture: Any, prompt: str) -> float:
        return math.nan if prompt == "nothing" else picture.getpixel((0, 0))[0] + len(prompt)

    server = example["make_server"](judge, "t0ken", 0)
    with serving(server):
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        score = RemoteScore(url, settings)
        images = pictures(6)
        expected = [
            float(image[0, 0, 0] * 255) + len(text) for image, text in zip(images, prompts(6), strict=True)
        ]
        assert score(images, prompts(6)).tolist() == pytest.approx(expected, abs=1e-4)
        with pytest.raises(RewardServerError, match="the judge answered nan"):
            score(images[:1], ["nothing"])
        with pytest.raises(LoadError, match="token"):
            RemoteScore(url, RemoteSettings(retries=0))
