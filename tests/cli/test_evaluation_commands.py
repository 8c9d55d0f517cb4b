"""`dfprompt compare` and `evaluate` from the command line: files, JSON, lines, refusals, exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from dfprompt.cli import console
from dfprompt.cli.main import app
from dfprompt.errors import ConfigError, InputError, ParseError
from dfprompt.policy import save_policy_folder
from tiny_policies import tiny_policy

Run = Callable[..., Result]
CAT = "a cat, [old film grain:late:1.25]"


@pytest.fixture
def run(
    tiny_folder: Callable[[str], Path], clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """`run("compare", ..., stdin="...")` in a folder of its own, with tiny models and few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", console.show_warning)
    small = ["--pipeline", str(tiny_folder("sd1")), "--device", "cpu", "--steps", "2", "--size", "16"]
    scores = {"compare": ["--reward"], "evaluate": ["--reward"]}

    def call(command: str, *arguments: str, stdin: str = "") -> Result:
        given = [command, *arguments, *small, *scores[command], f"clip:{clip_folder}"]
        return CliRunner().invoke(app, given, input=stdin)

    return call


def good(result: Result) -> str:
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def test_compare_prints_what_it_wrote(run: Run) -> None:
    lines = good(run("compare", "--with", CAT, "--seeds", "2", "--output", "out")).splitlines()
    assert lines[:2] == ["a cat", f"  with: {CAT}"]
    assert any(line.split()[:2] == ["clip", "plain"] for line in lines)
    grid, report = (Path(line.split(": ")[1]) for line in lines[-2:])
    with Image.open(grid) as picture:
        assert picture.width > 512
    assert report.read_text().startswith("<!DOCTYPE html>")
    refused = run("compare", "--with", CAT, "--seeds", "2", "--output", "out")
    assert isinstance(refused.exception, InputError)
    assert "--force" in str(refused.exception)
    good(run("compare", "--with", CAT, "--seeds", "2", "--output", "out", "--force"))


def test_compare_says_in_one_line_how_to_get_a_policy(run: Run) -> None:
    result = run("compare", "--with", CAT, "--seeds", "1", "--output", "out")
    good(result)
    notes = [line for line in result.stderr.splitlines() if "--policy" in line]
    assert len(notes) == 1
    assert "dfprompt tune" in notes[0]
    nothing = run("compare", "a cat", "--output", "other")
    assert isinstance(nothing.exception, InputError)
    assert "dfprompt tune" in str(nothing.exception)
    assert not Path("other").exists()


def test_compare_json_names_files_that_open(run: Run) -> None:
    result = run(
        "compare", "a cat", "--with", CAT, "--with", "a cat, old", "--seeds", "1", "--seed", "7", "--json"
    )
    answer = json.loads(good(result))
    assert answer["dfprompt"] == 1
    assert answer["seeds"] == [7]
    assert Path(answer["output"]).parent == Path("dfprompt-out")
    labels = [rewrite["label"] for rewrite in answer["prompts"][0]["rewrites"]]
    assert labels == ["plain", "with 1", "with 2"]
    for rewrite in answer["prompts"][0]["rewrites"]:
        for image in rewrite["images"]:
            with Image.open(image["file"]) as picture:
                assert picture.size == (16, 16)
            assert image["scores"].keys() == {"clip"}


def test_compare_reads_files_of_prompts(run: Run, tmp_path: Path) -> None:
    lines = tmp_path / "own.txt"
    lines.write_text("a cat, [snow:late]\n\n" + CAT + "\n", encoding="utf-8")
    answer = json.loads(good(run("compare", "--with-file", str(lines), "--seeds", "1", "--json")))
    assert [each["prompt"] for each in answer["prompts"]] == ["a cat"]
    assert len(answer["prompts"][0]["rewrites"]) == 3
    rows = tmp_path / "own.jsonl"
    rows.write_text(json.dumps({"prompt": "a dog", "df_prompt": CAT}) + "\n")
    answer = json.loads(
        good(run("compare", "--with-file", str(rows), "--seeds", "1", "--json", "--output", "o"))
    )
    assert answer["prompts"][0]["prompt"] == "a dog"
    rows.write_text('{"df_prompt": "[a"}\nnonsense\n')
    wrong = run("compare", "--with-file", str(rows))
    assert isinstance(wrong.exception, InputError)
    assert "line 1" in str(wrong.exception)
    assert "line 2" in str(wrong.exception)


def test_compare_answers_lines(run: Run) -> None:
    result = run("compare", "-", "--with", CAT, "--seeds", "1", "--output", "out", stdin="a cat\n\na dog\n")
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 0
    assert [answer.get("blank", False) for answer in answers] == [False, True, False]
    reports = [Path(answer["report"]) for answer in answers if "report" in answer]
    assert [path.name for path in reports] == ["001-report.html", "002-report.html"]
    assert all(path.exists() for path in reports)


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ([], InputError),
        (["--with", "[a"], ParseError),
        (["--with", CAT, "--seeds", "0"], InputError),
        (["--with", CAT, "--steps", "0"], ConfigError),
        (["--with-file", "missing.txt"], InputError),
    ],
)
def test_compare_refuses_bad_input(run: Run, arguments: list[str], kind: type[Exception]) -> None:
    given = CliRunner().invoke(app, ["compare", *arguments, "--output", "out"])
    assert isinstance(given.exception, kind), given.exception
    assert not Path("out").exists()


@pytest.fixture(scope="module")
def policy_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policies") / "tiny-policy"
    return save_policy_folder(tiny_policy(favour=("film grain", "oil painting")), folder)


def test_compare_with_a_policy_from_a_folder(run: Run, policy_folder: Path) -> None:
    arguments = ["a red cat", "the blue star", "--policy", str(policy_folder), "--seeds", "2"]
    answer = json.loads(good(run("compare", *arguments, "--output", "out", "--json")))
    for prompt in answer["prompts"]:
        texts = [rewrite["df_prompt"] for rewrite in prompt["rewrites"]]
        assert [rewrite["label"] for rewrite in prompt["rewrites"]] == ["plain", "policy tiny"]
        assert all(text.startswith(prompt["prompt"]) for text in texts)
    assert {each["to_plain"]["units"] for each in answer["overall"] if each["to_plain"]} == {"prompts"}


def test_evaluate_with_policies_and_their_arms(run: Run, policy_folder: Path, tmp_path: Path) -> None:
    methods = f"policy,stripped,mine={policy_folder},shuffled:mine,best-of-2:mine"
    arguments = ["--prompts", _prompts(tmp_path), "--methods", methods, "--policy", str(policy_folder)]
    answer = json.loads(good(run("evaluate", *arguments, "--seeds", "1", "--output", "out", "--json")))
    assert answer["rows"] == 2 * 6
    diversity = {line["method"]: line["diversity"] for line in answer["methods"]}
    assert diversity["policy"] == diversity["mine"]
    assert diversity["stripped"]["distinct"] == diversity["mine"]["distinct"]


def test_a_policy_is_taken_to_another_sampler_with_the_same_words_and_noise(
    run: Run, policy_folder: Path, tmp_path: Path
) -> None:
    asked = ["--prompts", _prompts(tmp_path), "--methods", "policy", "--policy", str(policy_folder)]
    asked += ["--seeds", "2", "--json"]
    rows: dict[str, dict[tuple[str, str, int], dict[str, Any]]] = {}
    for name, flags in (("home", []), ("away", ["--scheduler", "euler"])):
        good(run("evaluate", *asked, *flags, "--output", name))
        lines = (tmp_path / name / "rows.jsonl").read_text().splitlines()[1:]
        read = [json.loads(line) for line in lines]
        rows[name] = {(row["method"], row["prompt_id"], row["seed"]): row for row in read}
    assert rows["home"].keys() == rows["away"].keys()
    for key, row in rows["home"].items():
        away = rows["away"][key]
        assert (row["df_prompt"], row["noise"]) == (away["df_prompt"], away["noise"])
        assert row["scores"] != away["scores"], "the other sampler drew another picture"
    mixed = run("evaluate", *asked, "--output", "home", "--scheduler", "euler")
    assert "another evaluation" in str(mixed.exception)


def _prompts(tmp_path: Path) -> str:
    path = tmp_path / "prompts.txt"
    path.write_text("a red house\na dog\n")
    return str(path)


def test_evaluate_prints_tables_and_goes_on(run: Run, tmp_path: Path) -> None:
    arguments = ["--prompts", _prompts(tmp_path), "--seeds", "2", "--output", "out", "--suffix", "[old:late]"]
    shown = good(run("evaluate", *arguments, "--methods", "plain,suffix"))
    assert "## clip (optimised)" in shown
    assert "| suffix |" in shown
    rows = Path("out/rows.jsonl").read_text().replace("\t\n", "\n").splitlines()[1:]
    answer = json.loads(
        good(run("evaluate", *arguments, "--methods", "suffix", "--methods", "random", "--json"))
    )
    assert Path("out/rows.jsonl").read_text().splitlines()[1 : 1 + len(rows)] == rows
    assert answer["rows"] == 2 * 2 * 3
    assert {line["method"] for line in answer["scores"]} == {"plain", "suffix", "random"}
    other = run("evaluate", *arguments, "--methods", "plain", "--guidance", "3")
    assert "another evaluation" in str(other.exception)


def test_evaluate_names_what_failed_and_exits_with_one(run: Run, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.jsonl"
    lines = [{"prompt": "a dog", "rewrite": "a dog, 8k"}, {"prompt": "a red house", "rewrite": "a \ud800"}]
    theirs.write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = [
        "--prompts",
        _prompts(tmp_path),
        "--seeds",
        "1",
        "--output",
        "out",
        "--methods",
        f"theirs={theirs}",
    ]
    result = run("evaluate", *arguments)
    assert result.exit_code == 1
    assert "theirs: picture (1 rows)" in result.stderr
    assert "| theirs |" in result.stdout


def test_evaluate_refuses_unknown_methods(run: Run, tmp_path: Path) -> None:
    result: Any = run("evaluate", "--prompts", _prompts(tmp_path), "--methods", "plane", "--output", "out")
    assert isinstance(result.exception, ConfigError)
    assert not Path("out").exists()
