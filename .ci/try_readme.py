"""Run README's commands as they are written there: `try_readme.py BIN [--whole]`, BIN holds `dfprompt`.

The trainings take half an hour as written; without --whole they get settings that make them seconds long.
Commands that name a model of the reader's own (models/...) are left out, and those that serve pages where the
extra for it is not installed; both are said.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
_BLOCK = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_RUN = (
    "optimizer.steps=2",
    "optimizer.warmup_steps=0",
    "validation.interval=2",
    "validation.samples=1",
    "checkpoints.interval=2",
)
SHORT = {
    "curate": ("source.limit=60", "confidence.seeds=1"),
    "train sft": ("optimizer.batch_size=8", "optimizer.micro_batch_size=8", *_RUN),
    # A policy of two steps rewrites badly, and the watchdog of lost meaning stops it, as it should.
    "train grpo": ("rollout.rows=8", "validation.rows=4", 'watchdogs.meaning="warn"', *_RUN),
}
SERVES = ("studio",)


def commands(text: str) -> list[str]:
    """Every `dfprompt` line of README's text blocks, and the one its first picture names."""
    lines = [line for block in _BLOCK.findall(text) for line in block.splitlines()]
    shown = re.findall(r"`(dfprompt compare [^`]+)`", text.replace("\n", " "))
    return shown + [line for line in lines if line.startswith("dfprompt ")]


def shortened(words: list[str]) -> list[str]:
    """The command with settings that make it short, where it has such."""
    for name, changes in SHORT.items():
        if " ".join(words[1:]).startswith(name):
            return [*words, *(word for change in changes for word in ("--set", change))]
    return words


def run(words: list[str], **where: Any) -> tuple[int, str]:
    """Exit status and output; a command that serves pages has passed once it says its address."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(words, **streams, **where) as process:
        assert process.stdout is not None
        if words[1] not in SERVES:
            output = process.communicate()[0]
            return process.returncode, output
        said = process.stdout.readline()
        process.terminate()
        return int("http://127.0.0.1" not in said), said + process.communicate()[0]


def has_server(folder: str) -> bool:
    """Whether the environment has what pages are served with."""
    return not subprocess.run([f"{folder}/python", "-c", "import starlette, uvicorn"], check=False).returncode


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Print each command and how it ended; 1 if one failed."""
    whole, (folder,) = "--whole" in arguments, [each for each in arguments if not each.startswith("-")]
    program, failed = str(Path(folder).resolve() / "dfprompt"), 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PYTHONUNBUFFERED"] = "1"
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "recipes").symlink_to(ROOT / "recipes")
        for command in commands((ROOT / "README.md").read_text(encoding="utf-8")):
            if "models/" in command:
                say(f"left out (a model of the reader's own): {command}")
                continue
            if command.split()[1] in SERVES and not has_server(folder):
                say(f"left out (its extra is not installed here): {command}")
                continue
            words = shlex.split(command) if whole else shortened(shlex.split(command))
            code, output = run([program, *words[1:]], cwd=place, env=environment)
            failed += code != 0
            say(f"{f'ends with {code}' if code else 'passed'}: {shlex.join(words)}")
            if code:
                say(output[-4000:])
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
