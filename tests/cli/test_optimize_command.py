"""`dfprompt optimize`: texts on stdout, remarks on stderr, one JSON shape, dialects, bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfprompt.errors import InputError
from dfprompt.policy import save_policy_folder
from dfprompt.prompt import parse_prompt
from tiny_policies import storable_policy

Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_policy_folder(storable_policy(favour=("gore",)), tmp_path_factory.mktemp("p") / "tiny"))


def test_prints_one_df_prompt_per_line_and_nothing_else(cli: Cli, folder: str) -> None:
    done = cli(
        "optimize", "a red cat", "the blue star", "--policy", folder, "--candidates", "2", "--seed", "3"
    )
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stderr
    assert len(lines) == 4
    assert [parse_prompt(line).plain_text.startswith("a red cat") for line in lines] == [
        True,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize("more", [["--policy", "mini-sft"], ["--policy", "starter"], []])
def test_a_policy_beside_a_style_is_said_not_to_write(cli: Cli, more: list[str]) -> None:
    done = cli("optimize", "a red cat", "--style", "photo", *more)
    assert done.returncode == 0, done.stderr
    said = "warning: --style photo writes by rules, so --policy mini-sft does not write here"
    assert (said in done.stderr.splitlines()) == (more[-1:] == ["mini-sft"])


def test_what_restraint_left_alone_is_said_to_be_so(cli: Cli) -> None:
    done = cli("optimize", "a red house in the snow", "--restraint", "1", "--json")
    (found,) = json.loads(done.stdout)["prompts"][0]["candidates"]
    assert found["unchanged"] == "left alone: nothing it knows would help enough for this restraint"


def test_json_has_plain_candidates_and_scores(cli: Cli, folder: str) -> None:
    done = cli("optimize", "a red cat", "--policy", folder, "--json", "--to", "a1111", "--steps", "20")
    answer = json.loads(done.stdout)
    assert list(answer) == ["dfprompt", "policy", "negative", "prompts"]
    candidate = answer["prompts"][0]["candidates"][0]
    assert {"text", "spans", "modifiers", "logprob", "score", "seed", "end", "lost"} <= set(candidate)
    assert answer["prompts"][0]["plain"] == "a red cat"


def test_lines_in_lines_out_errors_included(cli: Cli, folder: str) -> None:
    lines = b"a red cat\n\na [x:0->1] cat\nthe blue star\n"
    done = cli("optimize", "-", "--df", "--policy", folder, stdin=lines)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("plain") for row in rows] == ["a red cat", None, None, "the blue star"]
    assert rows[1] == {"dfprompt": 1, "blank": True}
    assert rows[2]["error"]["kind"] == "ParseError"
    assert all(row["dfprompt"] == 1 for row in rows)
    assert done.returncode == InputError.exit_code


def test_bans_df_and_temperature_reach_the_policy(cli: Cli, folder: str) -> None:
    arguments = ["--policy", folder, "--df", "--ban", "Gore", "--temperature", "0"]
    done = cli("optimize", "a cat, [snow:late]", *arguments)
    again = cli("optimize", "a cat, [snow:late]", *arguments, "--seed", "99")
    assert done.stdout == again.stdout  # temperature 0 draws nothing at random
    assert "[snow:late]" in done.stdout
    assert "gore" not in done.stdout.casefold()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["a cat", "--to", "compel"], "--to: "),
        ([""], "empty"),
        (["a cat", "--temperature", "-1"], "temperature"),
        (["a cat", "--ban", " "], "ban"),
        (["a cat", "--candidates", "0"], "candidates"),
        (["a cat", "--policy", "no/such/folder"], "no/such/folder"),
        (["a cat, [snow:late", "--df"], "^"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_two(
    cli: Cli, folder: str, arguments: list[str], named: str
) -> None:
    given = [*arguments] if "--policy" in arguments else [*arguments, "--policy", folder]
    done = cli("optimize", *given)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_help_has_examples(cli: Cli) -> None:
    assert 'dfprompt optimize "a red house in the snow"' in cli("optimize", "--help").stdout


def test_the_folder_is_only_read(cli: Cli, folder: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")}
    cli("optimize", "a red cat", "--policy", folder)
    assert {path: path.stat().st_mtime_ns for path in Path(folder).rglob("*")} == before
