"""Run README's commands as they are written there: `try_readme.py BIN [--whole]`, BIN holds `dfprompt`.

The trainings take half an hour as written; without --whole they get settings that make them seconds long.
Commands that name a model of the reader's own (models/...) are left out, and said.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

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


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Print each command and how it ended; 1 if one failed."""
    whole, (folder,) = "--whole" in arguments, [each for each in arguments if not each.startswith("-")]
    program, failed = str(Path(folder).resolve() / "dfprompt"), 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "recipes").symlink_to(ROOT / "recipes")
        for command in commands((ROOT / "README.md").read_text(encoding="utf-8")):
            if "models/" in command:
                say(f"left out (a model of the reader's own): {command}")
                continue
            words = shlex.split(command) if whole else shortened(shlex.split(command))
            done = subprocess.run(
                [program, *words[1:]], cwd=place, env=environment, text=True, capture_output=True, check=False
            )
            failed += done.returncode != 0
            ended = f"ends with {done.returncode}" if done.returncode else "passed"
            say(f"{ended}: {shlex.join(words)}")
            if done.returncode:
                say(done.stdout[-1000:] + done.stderr[-3000:])
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
