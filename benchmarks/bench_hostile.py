"""Hostile files for every command that reads any: 300 each, spread evenly over the kinds it reads.

python benchmarks/bench_hostile.py                                  300 files per command, cheapest first
python benchmarks/bench_hostile.py --files 3                        what a file costs, in processor seconds
python benchmarks/bench_hostile.py --journal hostile.jsonl          goes on with what is in the journal
python benchmarks/bench_hostile.py --commands "train sft,plan" --first 5000

A file is made from the name of its kind and a number; `--first` is the first of the numbers. A fault is a
traceback, a question, code that ran, an end without a word, 10 seconds of the processor or a gigabyte.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from machine import header

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crash_machine import import_everything
from hostile_cases import CASES, LONG, try_one
from hostile_goods import Goods


@dataclass(frozen=True)
class Trial:
    """One hostile file: its kind and number, what was wrong with what the command did, and what it said."""

    kind: str
    number: int
    wrong: str
    said: str
    seconds: float


def command_of(kind: str) -> str:
    """Name the command that a kind of file is for.

    >>> command_of("ablate"), command_of("begun train sft"), command_of("policy")
    ('ablate weight', 'train sft', 'optimize')
    """
    first, second, *_ = shlex.split(CASES[kind][1])
    return f"{first} {second}" if first in ("ablate", "study", "train") else first


def kinds_by_command() -> dict[str, list[str]]:
    """Return the kinds of files each command reads; what trains or draws for seconds comes last."""
    kinds: dict[str, list[str]] = {}
    for kind in sorted(CASES, key=lambda each: each in LONG):
        kinds.setdefault(command_of(kind), []).append(kind)
    return kinds


def numbers(kinds: Sequence[str], files: int, first: int) -> Iterator[tuple[str, int]]:
    """Spread files over kinds, in turn.

    >>> list(numbers(["a", "b"], 3, 1000))
    [('a', 1000), ('b', 1000), ('a', 1001)]
    """
    for at in range(files):
        yield kinds[at % len(kinds)], first + at // len(kinds)


def try_file(kind: str, number: int, good: Goods, folder: Path) -> Trial:
    """Try one file; its folder stays only where something was wrong."""
    place = folder / f"{kind} {number}"
    before = _processor()
    _, said, wrong = try_one(kind, number, good, place)
    if not wrong:
        shutil.rmtree(place)
    return Trial(kind, number, wrong, said[-300:] if not wrong else said[-3000:], _processor() - before)


def _processor() -> float:
    """Seconds of the processor that ended children have taken."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per fault and per command; 1 if there was any fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = kinds_by_command()
    parser.add_argument("--files", type=int, default=300, help="per command")
    parser.add_argument("--first", type=int, default=1000)
    parser.add_argument("--commands", default=",".join(kinds))
    parser.add_argument("--journal", type=Path, help="one line per file; those in it are not tried again")
    asked = parser.parse_args(arguments)
    print(header(f"hostile files: {asked.files} per command, numbers from {asked.first}"), flush=True)
    rows: list[Trial] = []
    if asked.journal and asked.journal.exists():
        rows = [Trial(**json.loads(line)) for line in asked.journal.read_text().splitlines()]
    done = {(row.kind, row.number): row for row in rows}
    import_everything()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        good = Goods(Path(folder) / "good")
        for command in asked.commands.split(","):
            own = []
            for kind, number in numbers(kinds[command], asked.files, asked.first):
                row = done.get((kind, number))
                if row is None:
                    row = try_file(kind, number, good, Path(folder))
                    if asked.journal:
                        with asked.journal.open("a") as file:
                            file.write(json.dumps(asdict(row)) + "\n")
                if row.wrong:
                    print(f"  {kind}, {number}: {row.wrong}: {row.said[-600:]}", flush=True)
                own.append(row)
            wrong, seconds = sum(bool(row.wrong) for row in own), sum(row.seconds for row in own)
            print(
                f"  {command:15} {len(kinds[command]):2} kinds {len(own):4} files {wrong:3} faults "
                f"{seconds:7.1f} s of the processor",
                flush=True,
            )
            faults += wrong
    print(f"  {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
