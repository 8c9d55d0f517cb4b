"""Every command that writes, killed and run again: at 50 operations of each, then at random in chains.

python benchmarks/bench_kills.py                                    until 1,000 kills are made
python benchmarks/bench_kills.py --kills 60 --points 3              less of it
python benchmarks/bench_kills.py --journal kills.jsonl              goes on with what is in the journal
python benchmarks/bench_kills.py --commands compare,tune

A point is one kill at the n-th thing done to the disk. A chain is up to four kills, each of the run that goes
on after the one before, half of them at an operation and half at a moment of processor time. Afterwards the
command is run to its end: its files must be those of the undisturbed run to the bit, and no others.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from machine import header

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crash_commands import COMMANDS, write_inputs
from crash_machine import begin, differences, go_on, import_everything, run, spread, tree

_LONGEST = 4  # kills of one chain


@dataclass(frozen=True)
class Trial:
    """One beginning, its kills and its end; `differing` names files that were lost, doubled or half there."""

    command: str
    number: str
    kills: int = 0
    differing: list[str] = field(default_factory=list)


class Place:
    """A folder with what the commands read; the undisturbed run of each, made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        write_inputs(folder)
        self.folder, self.wholes = folder, {}

    def whole(self, name: str) -> tuple[int, dict[str, Any]]:
        """Operations and files of a command that nobody disturbs."""
        if name not in self.wholes:
            folder = self.folder / "whole"
            begin(COMMANDS[name], folder)
            ended = run(COMMANDS[name].parts, folder)
            if ended.code:
                raise SystemExit(f"{name} fails undisturbed: {ended.err}")
            self.wholes[name] = ended.operations, tree(folder)
            shutil.rmtree(folder)
        return self.wholes[name]

    def point(self, name: str, number: int, of: int) -> Trial:
        """Kill at one of `of` operations spread over the whole run."""
        operations, _ = self.whole(name)
        points = spread(operations, of)
        kills = [partial(run, at=points[number])] if number < len(points) else []
        return self._try(name, f"point {number} of {of}", kills)

    def chain(self, name: str, number: int) -> Trial:
        """Kill at random, and what goes on again, up to `_LONGEST` times."""
        chance, (operations, _) = random.Random(f"{name} {number}"), self.whole(name)
        kills = []
        for _ in range(chance.randint(1, _LONGEST)):
            if chance.random() < 0.5:
                kills.append(partial(run, at=chance.randint(1, operations)))
            else:
                kills.append(partial(run, limit=partial(_end_after, chance.uniform(0.01, 1.5))))
        return self._try(name, f"chain {number}", kills)

    def _try(self, name: str, number: str, kills: Sequence[Any]) -> Trial:
        command, folder, made = COMMANDS[name], self.folder / "run", 0
        begin(command, folder)
        for kill in kills:
            ended = go_on(command, folder, kill)
            made += ended.code < 0
        last = go_on(command, folder)
        wrong = differences(folder, self.whole(name)[1])
        if last.code:
            wrong = [f"ends with {last.code}: {last.err.strip()[-300:]}", *wrong]
        shutil.rmtree(folder)
        return Trial(name, number, made, wrong)


def _end_after(seconds: float) -> None:
    """Let the system end this process after so much processor time: nothing handles that signal."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def trials(place: Place, names: Sequence[str], points: int, done: set[tuple[str, str]]) -> Iterator[Trial]:
    """Make the points of all commands in turn, then chains without end, without those that are done."""
    for number in range(points):
        for name in names:
            if (name, f"point {number} of {points}") not in done:
                yield place.point(name, number, points)
    number = 0
    while True:
        for name in names:
            if (name, f"chain {number}") not in done:
                yield place.chain(name, number)
        number += 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per command and the verdict; 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--journal", type=Path, help="one line per trial; those in it are not made again")
    asked = parser.parse_args(arguments)
    print(header(f"kill -9 of every command that writes: {asked.kills} kills"))
    rows: list[Trial] = []
    if asked.journal and asked.journal.exists():
        rows = [Trial(**json.loads(line)) for line in asked.journal.read_text().splitlines()]
    import_everything()
    with tempfile.TemporaryDirectory() as folder:
        made = trials(
            Place(Path(folder)), asked.commands.split(","), asked.points,
            {(row.command, row.number) for row in rows},
        )  # fmt: skip
        while sum(row.kills for row in rows) < asked.kills:
            rows.append(next(made))
            if asked.journal:
                with asked.journal.open("a") as file:
                    file.write(json.dumps(asdict(rows[-1])) + "\n")
            if rows[-1].differing:
                print(f"  {rows[-1].command}, {rows[-1].number}: {', '.join(rows[-1].differing)}", flush=True)
    for name in dict.fromkeys(row.command for row in rows):
        own = [row for row in rows if row.command == name]
        lost = sum(bool(row.differing) for row in own)
        print(f"  {name:20} {sum(row.kills for row in own):5} kills in {len(own):4} runs, {lost} lost")
    lost = sum(bool(row.differing) for row in rows)
    print(f"  {sum(row.kills for row in rows)} kills in {len(rows)} runs, {lost} lost")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
