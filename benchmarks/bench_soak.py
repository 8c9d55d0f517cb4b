"""Long runs: memory and time per row of `compare` and `evaluate`, and 5,000 large pictures in one gigabyte.

python benchmarks/bench_soak.py                       2,000 prompts, 5,000 pictures of 1024 px
python benchmarks/bench_soak.py --prompts 300 --pictures 500
python benchmarks/bench_soak.py --only score,inspect

Each command is a process of its own, looked at from outside: rows that it has written, processor seconds and
resident memory. A row's price is compared between the second and the last quarter of the rows, memory between
a quarter of the rows and all of them. The pictures are 20 different ones under 5,000 names.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from machine import header

_SUBJECTS = ("red cat", "blue boat", "green star", "yellow house", "orange mushroom", "white moon")
_PLACES = ("on a hill", "at night", "in the snow", "in a forest", "by the sea")
_DIFFERENT, _SIZE = 20, 1024
_INSPECT = """
import sys
from dfprompt.cli.main import main
for path in sys.argv[1:]:
    sys.argv = ["dfprompt", "inspect", path]
    try:
        main()
    except SystemExit as left:
        assert left.code in (0, 2), left.code
"""


def watch(command: Sequence[str], rows: Path) -> list[tuple[int, float, float]]:
    """Run a command to its end; returns (rows written, processor seconds, resident MB) twice a second."""
    seen, tick, page = [], os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            try:
                spent = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
                resident = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * page / 2**20
            except (OSError, IndexError, ValueError):
                break
            count = rows.read_bytes().count(b"\n") if rows.exists() else 0
            seen.append((count, sum(map(int, spent)) / tick, resident))
            time.sleep(0.5)
        said = process.stderr.read() if process.stderr else ""
    if process.returncode:
        raise SystemExit(f"the command failed: {said[-2000:]}")
    return seen


def soak(name: str, words: Sequence[str], prompts: Path, folder: Path) -> bool:
    """Print how the price of a row and memory went; False where they grew by more than a quarter."""
    command = [sys.executable, "-m", "dfprompt", *words, "--output", str(folder)]
    seen = watch(command, folder / "rows.jsonl")
    last = seen[-1][0]
    at = [min(seen, key=lambda each: abs(each[0] - last * part)) for part in (0.25, 0.5, 0.75, 1)]
    early, late = ((b[1] - a[1]) / max(1, b[0] - a[0]) for a, b in ((at[0], at[1]), (at[2], at[3])))
    peak = max(each[2] for each in seen)
    while_drawing = [each[2] for each in seen if each[0] <= last * 0.98]
    print(
        f"  {name:9} {last} rows of {len(prompts.read_text().splitlines())} prompts: "
        f"{early * 1000:.0f} ms a row in the second quarter, {late * 1000:.0f} in the last; "
        f"{at[0][2]:.0f} MB at a quarter, {while_drawing[-1]:.0f} before the end, {peak:.0f} at most"
    )
    return late < 1.25 * early and while_drawing[-1] < 1.25 * at[0][2]


def pictures(folder: Path, count: int) -> None:
    """Write `count` names for 20 pictures of 1024 px, each with a recipe as dfprompt writes it."""
    from dfprompt.images.metadata import GenerationMetadata
    from dfprompt.images.saving import Entry, save_pictures

    chance = np.random.default_rng(1)
    made = []
    for number in range(min(_DIFFERENT, count)):
        coarse = chance.integers(0, 256, (32, 32, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
        said = {"prompt": "a cat", "df_prompt": "a cat", "seed": number}
        recipe = GenerationMetadata.model_validate({**said, "model": {"name": "none"}, "settings": {}})
        made.append(Entry(folder / f"{number:05}.png", picture, recipe))
    save_pictures(made, force=False)
    for number in range(_DIFFERENT, count):
        os.link(folder / f"{number % _DIFFERENT:05}.png", folder / f"{number:05}.png")


def peak_of(command: Sequence[str]) -> tuple[float, float]:
    """Run a command; returns its processor seconds and its largest resident memory in MB."""
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"the command failed: {said.decode()[-2000:]}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def many_pictures(only: Sequence[str], place: Path, count: int) -> bool:
    """Print memory and time of what reads a tenth of the pictures, and all; False over a gigabyte."""
    fine = True
    for part in (count // 10, count):
        folder = place / f"pictures-{part}"
        folder.mkdir()
        pictures(folder, part)
        (place / "two.txt").write_text("a red cat on a hill\na blue boat at night\n")
        start = [sys.executable, "-m", "dfprompt"]
        commands = {
            "score": [*start, "score", str(folder), "--prompt", "a cat", "--reward", "clip:mini"],
            "inspect": [sys.executable, "-c", _INSPECT, *map(str, sorted(folder.iterdir()))],
            "evaluate": [
                *(*start, "evaluate", "--prompts", str(place / "two.txt"), "--methods", "plain,suffix"),
                *("--suffix", "film grain", "--steps", "1", "--reference", str(folder)),
                *("--validation-images", "0", "--output", str(place / f"evaluated-{part}")),
            ],
        }
        for name in (each for each in commands if each in only):
            seconds, peak = peak_of(commands[name])
            print(f"  {name:9} {part} pictures of {_SIZE} px: {peak:.0f} MB, {seconds:.0f} processor seconds")
            fine &= peak < 1024
    return fine


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per command; 1 if one grows, or takes more than a gigabyte for its pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--prompts", type=int, default=2000)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--only", default="compare,evaluate,score,inspect")
    asked = parser.parse_args(arguments)
    only, fine, chance = asked.only.split(","), True, random.Random(1)
    print(header("long runs"))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        texts = [
            f"a {chance.choice(_SUBJECTS)} {chance.choice(_PLACES)}, number {n}" for n in range(asked.prompts)
        ]
        prompts = place / "prompts.txt"
        prompts.write_text("\n".join(texts) + "\n", encoding="utf-8")
        beside = place / "beside.jsonl"
        beside.write_text(
            "".join(json.dumps({"prompt": t, "df_prompt": f"{t}, [film grain:late]"}) + "\n" for t in texts)
        )
        words = {
            "compare": ["compare", "--with-file", str(beside), "--seeds", "1", "--steps", "1"],
            "evaluate": [
                *(
                    "evaluate",
                    "--prompts",
                    str(prompts),
                    "--methods",
                    "plain,suffix",
                    "--suffix",
                    "film grain",
                ),
                *("--seeds", "1", "--steps", "1", "--validation-images", "0"),
            ],
        }
        for name in (each for each in words if each in only):
            fine &= soak(name, words[name], prompts, place / name)
        fine &= many_pictures(only, place, asked.pictures)
    return int(not fine)


if __name__ == "__main__":
    sys.exit(main())
