"""`dfprompt tune`: what it prints, JSON, lines in and lines out, the starter policy on the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import tiny_rewards
from dfprompt.cli import console
from dfprompt.cli.main import app
from dfprompt.errors import ConfigError, InputError, LoadError
from dfprompt.policy import save_policy_folder
from tiny_policies import storable_policy

Run = Callable[..., Result]


@pytest.fixture
def run(tiny_folder: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", console.show_warning)
    tiny_rewards.save_clip(tmp_path / "clip")
    (tmp_path / "words.txt").write_text("anime style\n[old film:late:1.5]\nsnow\n")
    fixed = ["--pipeline", str(tiny_folder("sd1")), "--device", "cpu", "--steps", "2", "--size", "16"]
    fixed += ["--reward", "clip:clip", "--images", "16", "--modifiers", "words.txt"]

    def call(*arguments: str, stdin: str = "") -> Result:
        return CliRunner().invoke(app, ["tune", *fixed, *arguments], input=stdin)

    return call


def test_the_answer_with_its_tables_and_everything_kept(run: Run) -> None:
    result = run("a red house", "--output", "out")
    assert result.exit_code == 0, result.stderr or result.exception
    lines = result.stdout.splitlines()
    answer = json.loads(Path("out/tune.json").read_text())
    said = answer["df_prompt"] or f"nothing beat plain: {answer['reason']}"
    assert lines[0] == said
    assert f"images: {answer['images']['measured']} of 16" in result.stdout
    assert f"{answer['evaluations']['saved']} saved by sharing" in result.stdout
    first = answer["evaluations"]["first_round"]
    assert f"first round: {first['done']}, {first['saved']} saved" in result.stdout
    if answer["finalist"]:
        in_words = next(
            at for at, line in enumerate(lines) if line.startswith(("It helped: ", "No clear help: "))
        )
        assert in_words < min(at for at, line in enumerate(lines) if line.endswith(":")), "before any table"
        assert "fresh seeds, finalist against plain:" in result.stdout
        best = answer["best_of_n"]
        assert f"best of {best['n']} plain pictures by clip (the search measured" in result.stdout
        assert "words.txt" in result.stdout
        assert "what each span adds" in result.stdout
    again = run("a red house", "--output", "out", "--resume", "--json")
    assert json.loads(again.stdout) == {
        **answer,
        "images": {**answer["images"], "drawn_now": 0},
    }
    assert isinstance(run("a red house", "--output", "out").exception, InputError)


def test_one_span_of_a_prompt(run: Run) -> None:
    result = run("a cat, [old film:late:1.25]", "--df", "--only", "old film", "--json", "--output", "span")
    answer = json.loads(result.stdout)
    assert (answer["prompt"], answer["modifiers"]) == ("a cat", "one span")


def test_a_policy_folder_and_best_of_n_on_the_command_line(run: Run, tmp_path: Path) -> None:
    folder = save_policy_folder(storable_policy(favour=("film grain", "oil painting")), tmp_path / "mine")
    asked = ["--policy", str(folder), "--candidates", "2", "--images", "28", "--best-of-n"]
    result = run("a red house", *asked, "--output", "out", "--json")
    assert result.exit_code == 0, result.stderr or result.exception
    answer = json.loads(result.stdout)
    assert any(each["origin"].startswith("policy ") for each in answer["candidates"])
    if answer["best_of_n"]:
        assert answer["best_of_n"]["equal_images"]
    shown = run("a red house", *asked, "--output", "out", "--resume").stdout
    assert "policy " in shown
    if answer["best_of_n"]:
        assert "(as many as the search measured)" in shown
    missing = run("a red house", "--policy", "nowhere", "--output", "other")
    assert isinstance(missing.exception, LoadError)


def test_lines_in_and_lines_out(run: Run) -> None:
    result = run("-", "--output", "out", stdin="a cat\na [cat:late]\n")
    assert result.exit_code == 2
    good, bad = map(json.loads, result.stdout.splitlines())
    assert good["output"] == str(Path("out/001-a-cat"))
    assert bad["error"]["kind"] == "InputError"


def test_mistakes_are_named_before_anything_is_loaded(run: Run) -> None:
    missing = ["--pipeline", "nowhere"]
    for arguments, kind, said in (
        (["a cat", "--images", "7"], ConfigError, "at least 16 images"),
        (["a cat", "--minutes", "0"], ConfigError, "minutes must be above 0"),
        (["a cat", "--modifiers", "none.txt"], ConfigError, "cannot read none.txt"),
        ([" "], InputError, "empty prompt"),
        (["a cat", "--only", "cat"], InputError, "add --df"),
        (["a cat", "--best-of-n", "--images", "20"], ConfigError, "at least 27 images"),
        (["a cat", "--policy", "starter", "--candidates", "0"], ConfigError, "candidates"),
    ):
        result = run(*missing, *arguments)
        assert isinstance(result.exception, kind), result.exception
        with pytest.raises(kind, match=said):
            raise result.exception


def test_the_starter_policy_says_what_it_is() -> None:
    result = CliRunner().invoke(app, ["optimize", "a red house", "--policy", "starter", "--json"])
    assert result.exit_code == 0, result.exception
    answer = json.loads(result.stdout)
    assert "not learned" in json.dumps(answer) or "not learned" in result.stderr
