"""What a wrong word costs: processor seconds of commands that are refused, or that need no model library.

Each command is run a few times in a process of its own, and the least is shown, beside a bare Python.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import header

REFUSED, LIGHT = 0.6, 1.0  # processor seconds at the most
WRONG = [
    ["train", "sft", "--resume"],
    ["compare"],
    ["compare", "x", "--pipeline", "models/none"],
    ["tune", "x", "--images", "3"],
    ["evaluate", "--prompts", "nofile.txt", "--output", "e"],
    ["generate", "x", "--output", "file/deep"],
    ["optimize", ""],
    ["optimize", "x", "--device", "cuda"],
    ["evaluate", "--prompts", "p.txt", "--output", "none", "--resume"],
]
RIGHT = [["inspect", "drawn.png"], ["optimize", "a red house", "--policy", "starter"]]


def cost(command: list[str], folder: Path, *, code: int, repeats: int = 3) -> tuple[float, str]:
    """The least processor seconds of a command, and the last line of what it said."""
    least, said = float("inf"), ""
    for _ in range(repeats):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ran.returncode == code, f"{command}: {ran.returncode}\n{ran.stderr}"
        if code:
            assert len(ran.stderr.strip().splitlines()) == 1, ran.stderr
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        least, said = min(least, used), (ran.stderr or ran.stdout).strip().split("\n")[-1]
    return least, said


def main() -> None:
    """Print a line per command; fail where one takes longer than it may."""
    print(header("Commands that are refused, and commands without a model"))
    slow: list[str] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "p.txt").write_text("a cat\n", encoding="utf-8")
        (folder / "file").write_text("", encoding="utf-8")
        draw = [sys.executable, "-m", "dfprompt", "generate", "a red house", "--steps", "2"]
        subprocess.run([*draw, "--output", "drawn"], cwd=folder, check=True, capture_output=True)
        os.replace(next((folder / "drawn").rglob("*.png")), folder / "drawn.png")
        bare, _ = cost([sys.executable, "-c", ""], folder, code=0)
        print(f"  {bare:5.2f} s  python -c ''")
        for words, code, most in [*((w, 2, REFUSED) for w in WRONG), *((w, 0, LIGHT) for w in RIGHT)]:
            used, said = cost([sys.executable, "-m", "dfprompt", *words], folder, code=code)
            shown = " ".join(word or '""' for word in words)
            print(f"  {used:5.2f} s  (most {most}; {used / bare:.0f} bare Pythons)  {shown}: {said[:90]}")
            slow += [shown] if used > most else []
    if slow:
        sys.exit(f"slower than they may be: {'; '.join(slow)}")


if __name__ == "__main__":
    main()
