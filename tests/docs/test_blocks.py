"""README and docs under test: python blocks run, console blocks print what they say they print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
_BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(language: str) -> list[object]:
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for match in _BLOCK.finditer(text):
            if match[1] == language:
                line = text.count("\n", 0, match.start()) + 1
                found.append(pytest.param(match[2], id=f"{page.relative_to(ROOT)}:{line}"))
    return found


def sessions(block: str) -> list[tuple[str, list[str]]]:
    """Split a console block into commands and the lines each is said to print."""
    found: list[tuple[str, list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append((line[2:], []))
        elif found:
            found[-1][1].append(line.rstrip())
    return found


def matches(printed: list[str], said: list[str]) -> bool:
    """Compare line by line; a line `...` stands for any number of lines."""
    if not said:
        return not printed
    if said[0].strip() == "...":
        return any(matches(printed[at:], said[1:]) for at in range(len(printed) + 1))
    return bool(printed) and printed[0] == said[0] and matches(printed[1:], said[1:])


def trimmed(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    return lines


@pytest.mark.parametrize("block", blocks("python"))
def test_python_blocks_run(block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(block, "<docs>", "exec"), {"__name__": "docs"})


@pytest.mark.parametrize("block", blocks("console"))
def test_console_blocks_print_what_they_say(
    block: str, cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command, said in sessions(block):
        program, *arguments = shlex.split(command)
        assert program == "dfprompt", f"{command}: only dfprompt is run here; mark other commands text"
        ran = cli(*arguments)
        assert "Traceback" not in ran.stderr
        printed = trimmed(ran.stdout) + trimmed(ran.stderr)
        assert matches(printed, trimmed("\n".join(said))), f"{command} printed\n" + "\n".join(printed)


def test_there_are_blocks_to_run() -> None:
    assert len(blocks("python")) >= 1
    assert len(blocks("console")) >= 4
