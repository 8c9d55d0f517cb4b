"""`dfprompt ablate` from the command line: what is printed and written, JSON, going on, refusals."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from dfprompt.cli import console
from dfprompt.cli.main import app
from dfprompt.errors import ConfigError, DFPromptError, DFPromptWarning, InputError, LoadError, ParseError

Run = Callable[..., Result]
CAT = "a cat, [old film grain:late:1.25], [snow:early]"
ARMS = [
    "first half (1->0.5)",
    "last half (0.5->0)",
    "first 15 % (1->0.85)",
    "last 15 % (0.15->0)",
    "all (1->0)",
]


@pytest.fixture
def run(
    tiny_folder: Callable[[str], Path], clip_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Run:
    """`run("range", ...)` in a folder of its own, with tiny models and few steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("warnings.showwarning", console.show_warning)
    Path("prompts.txt").write_text("a red house\na dog\n")
    small = ["--pipeline", str(tiny_folder("sd1")), "--device", "cpu", "--steps", "2", "--size", "16"]

    def call(command: str, *arguments: str) -> Result:
        given = ["ablate", command, *arguments, *small, "--reward", f"clip:{clip_folder}", "--output", "out"]
        return CliRunner().invoke(app, given)

    return call


def good(result: Result) -> str:
    assert result.exit_code == 0, result.stderr or result.exception
    return result.stdout


def test_range_prints_its_arms_and_writes_four_files(run: Run) -> None:
    Path("words.txt").write_text("old film\nsnow\n")  # a file is its words, and never a modifier itself
    arguments = ["--prompts", "prompts.txt", "--modifiers", "words.txt", "--seeds", "1"]
    with pytest.warns(DFPromptWarning, match="acts at none of the 2 steps"):
        shown = good(run("range", *arguments))
    assert [arm for arm in ARMS if f"| {arm} |" in shown] == ARMS
    assert "## clip (reward)" in shown
    assert "| old film |" in shown
    assert "| words.txt |" not in shown
    written = [Path(line.split(": ")[1]) for line in shown.splitlines() if line.startswith("written: ")]
    assert [path.name for path in written] == ["table.md", "table.csv", "range.png", "result.json"]
    assert written[0].read_text() in shown + "\n"
    with Image.open(written[2]) as picture:
        assert picture.format == "PNG"


def test_weight_json_and_going_on(run: Run) -> None:
    arguments = ["--prompts", "prompts.txt", "--modifiers", "snow", "--json"]
    answer = json.loads(good(run("weight", *arguments, "--seeds", "1")))
    assert answer["dfprompt"] == 1
    assert answer == json.loads(Path("out/result.json").read_text())
    assert [arm["weight"] for arm in answer["arms"]] == ["0.5", "0.75", "1", "1.25", "1.5"]
    assert {effect["baseline"] for effect in answer["effects"]} == {"plain", "weight 1"}
    rows = Path("out/rows.jsonl").read_text().replace("\t\n", "\n").splitlines()[1:]
    more = json.loads(good(run("weight", *arguments, "--resume", "--seeds", "2", "--modifiers", "old film")))
    assert Path("out/rows.jsonl").read_text().splitlines()[1 : 1 + len(rows)] == rows
    assert more["rows"] == 2 * 2 * (1 + 2 * 5)
    other = run("weight", *arguments, "--guidance", "3")
    assert isinstance(other.exception, DFPromptError)
    assert "another evaluation" in str(other.exception)


def test_attribution_names_what_each_modifier_brings(run: Run) -> None:
    answer = json.loads(good(run("attribution", CAT, "--seeds", "2", "--seed", "5", "--json")))
    assert (answer["prompt"], answer["df_prompt"], answer["seeds"]) == ("a cat", CAT, [5, 6])
    assert [(effect["modifier"], effect["arm"]) for effect in answer["effects"]] == [
        ("the whole prompt", "written"),
        ("old film grain", "modifier"),
        ("old film grain", "range"),
        ("old film grain", "weight"),
        ("snow", "modifier"),
        ("snow", "range"),
    ]
    effects = {e["modifier"]: e["compared"] for e in answer["effects"] if e["arm"] == "modifier"}
    spans = {"old film grain": "[old film grain:late:1.25]", "snow": "[snow:early]"}
    assert answer["dropped"] == [spans[word] for word, found in effects.items() if found["difference"] < 0]
    assert {found["units"] for found in effects.values()} == {"seeds"}
    shown = good(run("attribution", CAT, "--seeds", "2", "--seed", "5"))
    assert f"Written: `{CAT}`" in shown
    assert "| old film grain | the weight | weight 1 |" in shown
    assert Path("out/attribution.png").is_file()


def test_attribution_reads_other_dialects(run: Run) -> None:
    arguments = ["attribution", "a cat, (snow:1.3)", "--dialect", "a1111", "--seeds", "1", "--json"]
    answer = json.loads(good(run(*arguments)))
    assert answer["df_prompt"] == "a cat, [snow::1.3]"


def test_what_failed_is_named_and_the_exit_code_is_one(run: Run) -> None:
    """A lone surrogate cannot be encoded: the one prompt fails, the other completes."""
    Path("odd.jsonl").write_text('{"prompt": "a \\ud800"}\n{"prompt": "a dog"}\n')
    result = run("weight", "--prompts", "odd.jsonl", "--modifiers", "snow", "--seeds", "1")
    assert result.exit_code == 1
    assert "weight-0.5:snow: picture (1 rows)" in result.stderr
    assert "--retry-failed" in result.stderr
    assert "## Failed" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (["range", "--prompts", "missing.txt"], InputError, "missing.txt"),
        (["range", "--prompts", "prompts.txt", "--seeds", "0"], InputError, "--seeds"),
        (["weight", "--prompts", "prompts.txt", "--modifiers", "[snow:late]"], InputError, "brackets"),
        (["weight", "--prompts", "prompts.txt", "--steps", "0"], ConfigError, "--steps must be at least 1"),
        (["weight", "--prompts", "mini", "--count", "0"], ConfigError, "at least 1"),
        (["range", "--prompts", "prompts.txt", "--resume"], InputError, "no rows.jsonl to go on with"),
        (["attribution", CAT, "--resume"], InputError, "no rows.jsonl to go on with"),
        (["attribution", "a cat"], InputError, "no spans"),
        (["attribution", "[a"], ParseError, "never closed"),
        (["attribution", CAT, "--reward", "nowhere"], ConfigError, "nowhere"),
        (["attribution", CAT, "--pipeline", "nowhere"], LoadError, "nowhere"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(
    run: Run, arguments: list[str], kind: type[Exception], said: str
) -> None:
    own = {arguments[at] for at in range(len(arguments)) if arguments[at].startswith("--")}
    result = run(*arguments) if not own & {"--pipeline", "--steps"} else _bare(arguments)
    assert isinstance(result.exception, kind), result.exception
    assert said in str(result.exception)
    assert not Path("out").exists()


def _bare(arguments: list[str]) -> Result:
    return CliRunner().invoke(app, ["ablate", *arguments, "--output", "out"])


def test_an_error_is_one_message(cli: Callable[..., CompletedProcess[str]], tmp_path: Path) -> None:
    ran = cli("ablate", "attribution", CAT, "--seeds", "0", "--output", str(tmp_path / "out"))
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert len(ran.stderr.strip().splitlines()) == 1
    assert ran.stderr.startswith("error: ")


@pytest.mark.parametrize("command", ["range", "weight", "attribution"])
def test_every_help_has_examples(command: str) -> None:
    shown = CliRunner().invoke(app, ["ablate", command, "--help"]).stdout
    assert f"dfprompt ablate {command}" in shown
    assert "--json" in shown
