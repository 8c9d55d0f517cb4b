"""Every command on a page is one that the command line takes; those that draw in the mini world are drawn."""

from __future__ import annotations

import csv
import importlib.util
import json
import re
import runpy
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
GENERATED = {"cli.md", "settings.md", "api.md"}
PAGES = [
    ROOT / "README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if page.name not in GENERATED),
]
WIDTH = 98  # characters of code that a page shows without scrolling
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every `dfprompt ...` of a text or console block, and inline in backquotes, with its place."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in _BLOCK.finditer(text):
            joined = block[2].replace("\\\n", " ")
            for line in joined.splitlines():
                said = line.removeprefix("$ ").strip()
                if block[1] in ("text", "console", "bash") and said.startswith("dfprompt "):
                    yield (
                        f"{page.name}: {said}",
                        shlex.split(said.split(" | ")[0].split(" > ")[0], comments=True)[1:],
                    )


COMMANDS = dict(commands())


def in_words(arguments: list[str]) -> bool:
    """Whether a command stands for others: dots, or capitals in place of values."""
    return any(each == "..." or each.endswith("...") for each in arguments)


@pytest.mark.parametrize("place", list(COMMANDS))
def test_a_documented_command_is_one(place: str) -> None:
    from dfprompt.cli.main import app

    arguments = COMMANDS[place]
    if in_words(arguments):
        pytest.skip("stands for several")
    command: Any = typer.main.get_command(app)
    context: Any = None
    while getattr(command, "commands", None) is not None and arguments and arguments[0] in command.commands:
        context = command.make_context(arguments[0], [], parent=context, resilient_parsing=True)
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if command.name == "mini" or getattr(command, "commands", None) is not None:
        return
    try:
        command.make_context(command.name, list(arguments), parent=None)
    except typer.Exit:  # --help and --version answer by themselves
        pass


DRAWN = [
    place
    for place, arguments in COMMANDS.items()
    if arguments
    and arguments[0] in ("compare", "generate", "optimize", "start")
    and "--pipeline" not in arguments
    and not {"-", "--policy", "--lora", "--with-file"} & set(arguments)
    and not in_words(arguments)
    and arguments != ["start"]
]


def test_some_documented_commands_draw() -> None:
    assert len(DRAWN) >= 4


@pytest.mark.nightly
@pytest.mark.parametrize("place", DRAWN)
def test_a_documented_command_does_what_its_page_says(
    place: str, cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word is unknown to the world, no rewrite changes nothing, and no two rows are one picture."""
    monkeypatch.chdir(tmp_path)
    arguments = COMMANDS[place]
    if arguments[0] == "optimize":
        ran = cli(*arguments, "--json")
        assert ran.returncode == 0, ran.stderr
        answer = json.loads(ran.stdout)
        assert not any(each["unchanged"] for row in answer["prompts"] for each in row["candidates"])
    else:
        few = [] if "--seeds" in arguments or arguments[0] == "generate" else ["--seeds", "1"]
        ran = cli(
            *arguments, *few, "--output", str(tmp_path / "out"), *["--json"] * ("--json" not in arguments)
        )
        assert ran.returncode == 0, ran.stderr
        for found in (tmp_path / "out").glob("comparison.json"):
            rewrites = [r for prompt in json.loads(found.read_text())["prompts"] for r in prompt["rewrites"]]
            assert [each for each in rewrites if each["same_as"] or each["unchanged"]] == []
    if "--style" not in arguments:
        assert "outside the mini world" not in ran.stderr
        assert "not " not in ran.stderr.partition("knows the mini world only")[2][:4]


def _longest(text: str) -> list[str]:
    return [
        line
        for block in _BLOCK.finditer(text)
        if block[1] != "toml"
        for line in block[2].splitlines()
        if len(line) > WIDTH
    ]


@pytest.mark.parametrize("name", ["start", "how-to", "concepts", "faq", "api"])
def test_no_line_of_code_is_wider_than_the_page(name: str) -> None:
    assert _longest((ROOT / "docs" / f"{name}.md").read_text(encoding="utf-8")) == []


# ---- figures ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def look() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "first_look", ROOT / "experiments" / "first-look" / "look.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _words(text: str) -> str:
    return " ".join(text.split())


def test_the_figures_of_the_first_page_are_those_of_the_stored_pairs(look: ModuleType) -> None:
    stored = ROOT / "experiments" / "first-look"
    summary = look.summarize(look.read_rows())
    assert json.loads((stored / "summary.json").read_text()) == summary
    assert (stored / "README.md").read_text(encoding="utf-8") == look.describe(summary)
    for page in ("README.md", "docs/concepts.md"):
        text = _words((ROOT / page).read_text(encoding="utf-8"))
        assert look.late_sentence(summary) in text, f"{page} says something else than experiments/first-look"
        assert look.policy_sentence(summary) in text, (
            f"{page} says something else than experiments/first-look"
        )
    assert summary["late"]["prompts"] == 20
    assert summary["policy"]["prompts"] >= 90


def test_the_demo_draws_the_first_held_out_prompts_by_their_own_order(look: ModuleType) -> None:
    with (ROOT / "experiments" / "first-look" / "rows.csv").open(encoding="utf-8", newline="") as file:
        order = list(dict.fromkeys(row["prompt"] for row in csv.DictReader(file) if row["act"] == "b"))
    demo = runpy.run_path(str(ROOT / ".ci" / "demo.py"))
    assert list(demo["UNSEEN"]) == order[:3]
    assert demo["found"]("Act (a)")
    assert demo["found"]("Act (b)")
