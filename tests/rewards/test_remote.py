"""A reward behind an address: right numbers, or the work stops; never a number nobody gave."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from dfprompt.api.rewards import load_reward
from dfprompt.errors import ConfigError, LoadError, RewardError, RewardServerError
from dfprompt.rewards import RemoteScore, RemoteSettings, wire
from reward_servers import bright, drip, drop, good, hang, misbehaving, say, scores_of
from tiny_rewards import pictures, prompts

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
QUICK = RemoteSettings(timeout=0.3, retries=1, backoff=0.01)


def _scores(url: str, count: int = 3, settings: RemoteSettings = QUICK) -> torch.Tensor:
    return RemoteScore(url, settings)(pictures(count), prompts(count))


def test_scores_are_those_of_the_score_itself_in_batches_of_the_server() -> None:
    with misbehaving() as (url, server):
        found = _scores(url, 10)
    torch.testing.assert_close(found, bright()(pictures(10), prompts(10)), rtol=0, atol=1e-6)
    assert server.asked == 3  # 4 + 4 + 2


def test_records_reach_the_server_and_only_as_json() -> None:
    seen: list[dict] = []

    def note(handler, body):
        seen.extend(wire.read_question(json.loads(body)).records)
        good(handler, body)

    with misbehaving(note) as (url, _):
        score = RemoteScore(url, QUICK)
        score(pictures(2), prompts(2), [{"objects": ["cat"]}, {}])
        with pytest.raises(RewardError, match="fields are not JSON"):
            score(pictures(1), prompts(1), [{"objects": {1, 2}}])
    assert seen == [{"objects": ["cat"]}, {}]


def _cut(handler, body):
    handler.send(200, wire.answer("judge", scores_of(body)[:-1]))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (say(b'{"dfprompt_reward": 1, "name": "judge", "scores": [NaN, 1, 2]}'), "NaN is no number"),
        (say(b'{"dfprompt_reward": 1, "name": "judge", "scores": [1e999, 1, 2]}'), "finite number"),
        (say(wire.answer("judge", [1e39, 1, 2])), "finite number"),
        (say({**wire.answer("judge", []), "scores": [None, 1, 2]}), "finite number, not"),
        (say({**wire.answer("judge", []), "scores": [True, 1, 2]}), "finite number, not"),
        (say({**wire.answer("judge", []), "scores": ["0.5", 1, 2]}), "finite number, not"),
        (say({**wire.answer("judge", []), "scores": [[1], [2], [3]]}), "finite number, not"),
        (say(wire.answer("judge", [])), "3 pictures need a list of 3 scores, got 0"),
        (say({**wire.answer("judge", []), "scores": {"0": 1}}), "list of 3 scores"),
        (_cut, "got 2 scores"),
        (say({"dfprompt_reward": 2, "name": "judge", "scores": [1, 2, 3]}), "version 2 "),
        (say({"dfprompt_reward": True, "name": "judge", "scores": [1, 2, 3]}), "version"),
        (say({"scores": [1, 2, 3]}), "reward protocol"),
        (say([1, 2, 3]), "reward protocol"),
        (say(wire.answer("another", [1, 2, 3])), 'was the score judge and now is "another"'),
        (say(b"<html>"), "not JSON"),
        (say(b"[" * 100_000), "not JSON"),
        (say({"error": "no such prompt"}, 422), 'status 422: "no such prompt"'),
        (say({}, 401), "token"),
        (say({}, 302, Location="http://127.0.0.1:1/"), "redirects are not followed"),
    ],
)
def test_an_answer_that_is_none_stops_at_once(reply, said: str) -> None:
    with misbehaving(reply) as (url, server), pytest.raises(RewardServerError, match=said) as caught:
        _scores(url)
    assert server.asked == 1
    assert "what is done is kept" in str(caught.value)


@pytest.mark.parametrize("trouble", [drop, hang, drip, say({}, 503), say({}, 500), say({}, 429)])
def test_a_moment_of_trouble_is_waited_out(trouble) -> None:
    with misbehaving(trouble, good) as (url, server):
        found = _scores(url)
    torch.testing.assert_close(found, bright()(pictures(3), prompts(3)), rtol=0, atol=1e-6)
    assert server.asked == 2


@pytest.mark.parametrize("trouble", [drop, hang, drip, say({}, 503)])
def test_lasting_trouble_stops_after_the_retries(trouble) -> None:
    started = time.monotonic()
    with misbehaving(trouble) as (url, server), pytest.raises(RewardServerError, match="asked 2 times"):
        _scores(url)
    assert server.asked == 2
    assert time.monotonic() - started < 5


def test_pauses_grow_and_a_busy_server_says_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    with misbehaving(say({}, 503), say({}, 503, Retry_After="7"), say({}, 429, Retry_After="9999"), good) as (
        url,
        _,
    ):
        score = RemoteScore(url, RemoteSettings(retries=3, backoff=0.5))
        with monkeypatch.context() as patched:
            clock = SimpleNamespace(sleep=slept.append, monotonic=time.monotonic)  # its own: others sleep too
            patched.setattr("dfprompt.endpoint.time", clock)
            score(pictures(1), prompts(1))
    assert slept == [0.5, 7, 60]


def test_a_server_that_dies_in_mid_batch_leaves_no_score_of_the_batch() -> None:
    with misbehaving(good, drop) as (url, server), pytest.raises(RewardServerError):
        _scores(url, 8)
    assert server.asked == 3  # the first four, and twice the others


def test_a_row_may_be_left_empty_on_request() -> None:
    with misbehaving(say({"error": "too dark"}, 422)) as (url, _):
        with pytest.raises(RewardError, match="too dark") as caught:
            _scores(url, 1, QUICK.model_copy(update={"on_failure": "row"}))
    assert not isinstance(caught.value, RewardServerError)


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ({"dfprompt_reward": 7, "name": "judge", "batch": 4}, "version 7 "),
        ({"hello": "world"}, "reward protocol"),
        ({**wire.describe("judge", 4), "batch": 0}, "largest batch"),
        ({**wire.describe("judge", 4), "name": "<script>"}, "name must be"),
    ],
)
def test_a_server_of_another_kind_is_refused_when_it_is_named(described, said: str) -> None:
    with misbehaving(described=described) as (url, _), pytest.raises(LoadError, match=said):
        RemoteScore(url, QUICK)


def test_nobody_there_is_said_when_the_reward_is_named() -> None:
    with misbehaving() as (url, _):
        pass
    with pytest.raises(LoadError, match="no answer"):
        load_reward(url, assignments=["remote.retries=0"])


@pytest.mark.parametrize(
    "url", ["http://", "http://a b/", "http://host:99999/", "http://me:pass@host/", "http://host/#x"]
)
def test_what_is_no_address_is_refused_without_asking(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_reward(url)
    assert "pass@" not in str(caught.value)


def test_the_token_is_sent_and_never_shown(tmp_path: Path) -> None:
    seen: list[str] = []

    def note(handler, body):
        seen.append(handler.headers["Authorization"])
        good(handler, body)

    (tmp_path / "token").write_text("s3cret\n")
    with misbehaving(note) as (url, _):
        score = RemoteScore(url, RemoteSettings(token_file="token"), base=tmp_path)
        score(pictures(1), prompts(1))
    assert seen == ["Bearer s3cret"]
    assert "s3cret" not in repr(score.endpoint)


def test_a_recipe_takes_addresses_as_parts_further_rewards_and_judges(tmp_path: Path) -> None:
    with misbehaving() as (url, _), misbehaving() as (other, _):
        (tmp_path / "r.toml").write_text(
            f"[composite]\na = 0.0\nc = 0.0\nd = 0.0\n[remote]\nretries = 0\n"
            f'[[extra]]\nname = "hpsv3"\nscore = "{url}"\nweight = 2.0\n'
            f'[[judges]]\nname = "watch"\nscore = "{other}"\n'
        )
        reward = load_reward(tmp_path / "r.toml")
        expected = 2 * bright()(pictures(2), prompts(2))
        torch.testing.assert_close(reward(pictures(2), prompts(2)), expected, rtol=0, atol=1e-6)
        assert reward.judges["watch"].endpoint.url == other
        (tmp_path / "bad.toml").write_text((tmp_path / "r.toml").read_text().replace(other, url.rstrip("/")))
        with pytest.raises(ConfigError, match="never trained on"):
            load_reward(tmp_path / "bad.toml")
