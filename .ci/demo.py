"""Two acts: `demo.py [OUTPUT]`, OUTPUT begins the names of the folders (dfprompt-out/demo).

(a) The same words from the same noise: a style all the time, early, late, and late and gently.
(b) What the trained policy writes for prompts it never saw: the first three held-out, in their own order.

The commands run one after the other in this process, so that what they share is loaded once.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

from dfprompt.cli.main import main as dfprompt

ROOT = Path(__file__).resolve().parent.parent
WORDS, STYLE = "a red house in the snow", "watercolor"
UNSEEN = ("a yellow mushroom under the stars", "a yellow boat on a winter day", "a blue cup among the dunes")


def say(text: str) -> None:
    sys.stdout.write(f"\n{text}\n")
    sys.stdout.flush()


def run(*arguments: str) -> None:
    """Show a command as it is typed, and run it; the first that fails ends the demo."""
    say(
        "$ dfprompt "
        + " ".join(f'"{each}"' if shlex.quote(each) != each else each for each in arguments)
        + "\n"
    )
    sys.argv = ["dfprompt", *arguments]
    try:
        dfprompt()
    except SystemExit as ended:
        if ended.code:
            raise


def found(act: str) -> str:
    """The sentence of the stored pairs about an act."""
    text = (ROOT / "experiments" / "first-look" / "README.md").read_text(encoding="utf-8")
    return next(iter(re.findall(rf"^- {re.escape(act)}\. (.*)$", text, re.MULTILINE)), "")


def main(output: str = "dfprompt-out/demo") -> None:
    say("A DF-Prompt says when each of its words acts while a picture is denoised, and how strongly:")
    run("plan", f"{WORDS}, [{STYLE}:late:0.75]", "--steps", "10")
    say("Act one. The same words from the same noise; only when the style acts is different:")
    late, policy = f"{output}-late", f"{output}-policy"
    shown = ("--reward", "none", "--seeds", "4", "--output", late, "--force")
    run("compare", WORDS, "--vary", STYLE, *shown)
    say(found("Act (a)"))
    say("Act two. The mini policy writes such prompts for the mini world; these three it never saw:")
    run("compare", *UNSEEN, "--seeds", "2", "--output", policy, "--force")
    say(found("Act (b)"))
    say(
        f"Look at {late}/grid.png for the idea and at {policy}/grid.png for what the policy writes,\n"
        "or open report.html there in a browser. On a model of your own: dfprompt start"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
