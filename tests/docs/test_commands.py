"""Every command on a page or in the help is one, and is run or knowingly left out."""

from __future__ import annotations

import csv
import importlib.util
import itertools
import json
import runpy
import shlex
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from documented_commands import BLOCK, EXCLUDED, FAILING, ROOT, documented, make_reader, runnable, to_run

WIDTH = 98  # characters of code that a page shows without scrolling
COMMANDS = {command.name: command for command in documented()}
RUN = to_run()
CLI = Callable[..., Any]


@pytest.mark.parametrize("name", list(COMMANDS), ids=ascii)
def test_a_documented_command_is_one(name: str) -> None:
    """Its name and every option exist, whatever stands for their values."""
    from dfprompt.cli.main import app

    documented = COMMANDS[name]
    arguments = list(documented.arguments)
    command: Any = typer.main.get_command(app)
    context: Any = None
    while getattr(command, "commands", None) is not None and arguments and arguments[0] in command.commands:
        context = command.make_context(arguments[0], [], parent=context, resilient_parsing=True)
        command, arguments = command.commands[arguments[0]], arguments[1:]
    if getattr(command, "commands", None) is not None:
        assert not [each for each in arguments if not each.startswith("-")], "no such command"
        return
    if documented.stands_for_others:
        options = {option for each in command.params for option in each.opts}
        assert {each for each in arguments if each.startswith("--")} <= options
        return
    try:
        command.make_context(command.name, arguments, parent=None)
    except typer.Exit:  # --help and --version answer by themselves
        pass


def test_every_page_and_the_help_are_read() -> None:
    assert len(COMMANDS) > 150
    assert len(RUN) > 60
    pages = {command.page for command in COMMANDS.values()}
    assert {"README.md", "start.md", "how-to.md", "training.md", "cli.md"} <= pages


def test_no_command_goes_on_in_the_next_line_without_saying_so() -> None:
    """A shell ends a command at the line's end: what was written below it would be another command."""
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for block in BLOCK.finditer(page.read_text(encoding="utf-8")):
            lines = [line.strip().removeprefix("$ ") for line in block[2].splitlines()]
            for line, following in itertools.pairwise(lines):
                cut = line.startswith("dfprompt ") and following.startswith("-")
                assert not cut or line.endswith("\\"), f"{page.name}: {line}"


@pytest.mark.parametrize("what", EXCLUDED)
def test_what_is_left_out_is_there_and_says_why(what: str) -> None:
    assert [command for command in COMMANDS.values() if command.excluded == EXCLUDED[what]]
    named = [word for word in EXCLUDED[what].split() if word.startswith("tests/")]
    assert named
    assert [each for each in named if not (ROOT / each.rstrip(",.:;")).exists()] == []


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory, tiny_folder: Callable[[str], Path]) -> Path:
    import dfprompt
    from dfprompt.cli.main import app

    place = tmp_path_factory.mktemp("reader")
    policy = Path(dfprompt.__file__).parent / "mini" / "weights" / "policy"
    command = typer.main.get_command(app)
    make_reader(place, tiny_folder, policy, lambda *words: command.main(list(words), standalone_mode=False))
    return place


@pytest.mark.nightly
@pytest.mark.parametrize("name", list(RUN), ids=ascii)
def test_a_documented_command_does_what_its_page_says(
    name: str, reader: Path, cli: CLI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends well; no word is unknown to the mini world, no rewrite changes nothing, no two rows are one."""
    command = RUN[name]
    arguments = runnable(command.arguments)
    lay_out(reader, tmp_path, arguments)
    monkeypatch.chdir(tmp_path)
    ran = cli(*arguments)
    said = f"{shlex.join(arguments)}\n{ran.stdout[-1000:]}{ran.stderr[-2000:]}"
    assert ran.returncode == FAILING.get(shlex.join(command.arguments).replace("'", '"'), 0), said
    assert "Traceback" not in ran.stderr
    draws_mini = (
        arguments[0] in ("compare", "generate", "optimize", "start") and "--pipeline" not in arguments
    )
    if draws_mini and not {"--style", "--lora"} & set(arguments):
        assert "outside the mini world" not in ran.stderr, said
    if arguments[0] == "optimize" and "--policy" not in arguments:
        again = (
            json.loads(cli(*arguments, "--json").stdout)
            if "--json" not in arguments
            else json.loads(ran.stdout)
        )
        assert not any(each["unchanged"] for row in again["prompts"] for each in row["candidates"])
    for found in tmp_path.rglob("comparison.json"):
        rewrites = [r for prompt in json.loads(found.read_text())["prompts"] for r in prompt["rewrites"]]
        assert [each for each in rewrites if each["same_as"] or each["unchanged"]] == []


def lay_out(reader: Path, place: Path, arguments: list[str]) -> None:
    """Give a command the reader's files, but not the folder it is to write."""
    for each in reader.iterdir():
        if each.name != "dfprompt-out" or each.name in arguments:
            (place / each.name).symlink_to(each)
    (place / "recipes").symlink_to(ROOT / "recipes")
    if "--output" in arguments:
        written = place / arguments[arguments.index("--output") + 1]
        if written.is_symlink():
            written.unlink()


def _longest(text: str) -> list[str]:
    return [
        line
        for block in BLOCK.finditer(text)
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
