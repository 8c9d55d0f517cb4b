"""Rewrites by a command or a chat endpoint: asked once, written down at once, failing by name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from dfprompt.endpoint import Endpoint
from dfprompt.errors import ConfigError, EvaluationError
from dfprompt.evaluation.rewriters import ChatRewriter, LlmMethod, clean_rewrite, make_llm
from dfprompt.evaluation.rewrites import RewriteStore
from dfprompt.measurement.prompts import as_prompts
from reward_servers import Handler, misbehaving, say

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
PROMPTS = as_prompts(["a cat", "a dog", "a [sic] house"])


def _chat(handler: Handler, body: bytes) -> None:
    asked = json.loads(body)
    handler.server.described = {"path": handler.path, **asked}
    said = f'\n"{asked["messages"][-1]["content"]}, seed {asked["seed"] % 7}"\n'
    handler.send(200, {"choices": [{"message": {"role": "assistant", "content": said}}]})


def test_the_chat_form_is_the_openai_one() -> None:
    with misbehaving(_chat) as (url, server):
        method = make_llm(url + "v1", model="tiny")
        (found,) = method.rewrite(PROMPTS[:1], 3)
        again = method.rewrite(PROMPTS[:1], 3)
    assert str(found).startswith("a cat, seed ")
    assert again == [found]
    asked = server.described
    assert asked["path"] == "/v1/chat/completions"
    assert (asked["model"], asked["stream"]) == ("tiny", False)
    assert [message["role"] for message in asked["messages"]] == ["system", "user"]
    assert method.definition == f"the rewrites of the chat endpoint {url}v1/chat/completions, model tiny"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"choices": []}, "no choices"),
        ({"choices": [{"message": {"content": None}}]}, "no text"),
        ({"choices": [{"message": {"content": "  "}}]}, "is empty"),
        ({"choices": [{"message": {"content": "x" * 5000}}]}, "more than 4000"),
        ([], "no choices"),
        (b"<html>", "not JSON"),
    ],
)
def test_an_answer_without_a_rewrite_is_an_error(answer: Any, said: str) -> None:
    with misbehaving(say(answer)) as (url, _):
        method = LlmMethod(ChatRewriter(Endpoint(url, retries=0)), "x")
        with pytest.raises(EvaluationError, match=said):
            method.rewrite(PROMPTS[:1], 0)


def test_a_run_that_goes_on_asks_only_for_what_is_missing(tmp_path: Path) -> None:
    with misbehaving(_chat, say({}, 400), _chat) as (url, server):
        method = LlmMethod(ChatRewriter(Endpoint(url, retries=0)), "x")
        first = RewriteStore(tmp_path).get(method, PROMPTS, 0)
        assert (len(first.prompts), len(first.failed), server.asked) == (2, 1, 3)
        kept = json.loads((tmp_path / "llm.json").read_text())["rewrites"]
        assert len(kept) == 2
        second = RewriteStore(tmp_path).get(method, PROMPTS, 0)
        assert (len(second.prompts), len(second.failed), server.asked) == (3, 0, 4)
        RewriteStore(tmp_path).get(method, PROMPTS, 0)
        assert server.asked == 4
    assert {key: value for key, value in second.prompts.items() if key in first.prompts} == first.prompts


def test_a_kill_between_two_answers_loses_none(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str, seed: int) -> str:
        asked.append(prompt)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return prompt + ", bright"

    method = LlmMethod(ask, "x")
    with pytest.raises(KeyboardInterrupt):
        RewriteStore(tmp_path).get(method, PROMPTS, 0)
    RewriteStore(tmp_path).get(method, PROMPTS, 0)
    assert asked == ["a cat", "a dog", "a dog", "a [sic] house"]


def _script(folder: Path, text: str) -> str:
    (folder / "rewrite.py").write_text(text)
    return f"'{sys.executable}' '{folder / 'rewrite.py'}'"


def test_a_command_reads_a_line_and_writes_the_rewrite(tmp_path: Path) -> None:
    read = "import json,sys; row = json.loads(sys.stdin.readline())\n"
    line = make_llm(_script(tmp_path, read + 'print(row["prompt"] + ", $HOME `id`")'))
    assert [str(each) for each in line.rewrite(PROMPTS[2:], 0)] == [r"a \[sic\] house, $HOME `id`"]
    obj = make_llm(_script(tmp_path, read + 'print(json.dumps({"rewrite": row["prompt"].upper()}))'))
    assert [str(each) for each in obj.rewrite(PROMPTS[:1], 0)] == ["A CAT"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import sys; sys.exit('no GPU')", "ended with 1.*no GPU"),
        ("", "is empty"),
        ("print('x' * 2**21)", "more than"),
    ],
)
def test_a_command_that_does_not_rewrite_is_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(EvaluationError, match=said):
        make_llm(_script(tmp_path, text)).rewrite(PROMPTS[:1], 0)


@pytest.mark.parametrize("source", ["", "no-such-command-here x", "'", "/"])
def test_what_is_neither_address_nor_command_is_refused(source: str) -> None:
    with pytest.raises(ConfigError, match="--llm"):
        make_llm(source)


def test_quotes_and_lines_around_a_rewrite_go() -> None:
    assert clean_rewrite("```a\ncat```", "x") == "``a cat``"
    assert clean_rewrite("it's 'a cat'", "x") == "it's 'a cat'"
