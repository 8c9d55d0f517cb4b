"""Every command that writes, stopped and run again: at 50 operations of each, then at random in chains.

python benchmarks/bench_kills.py                                    all points, then chains up to 1,000 kills
python benchmarks/bench_kills.py --kills 0 --points 3               less of it, and no chains
python benchmarks/bench_kills.py --by kill,OSError,MemoryError      the disk full and memory used up, too
python benchmarks/bench_kills.py --journal kills.jsonl              goes on with what is in the journal
python benchmarks/bench_kills.py --commands compare,tune

A point is one kill or error at the n-th thing done to the disk: at every one, or at 50 spread over them. A
chain is up to four kills, each of the run that goes on after the one before, half of them at an operation and
half at a moment of processor time. Afterwards the command is run to its end: its files must be those of the
undisturbed run to the bit, and no others. An error must be said in words. Two processes may share a journal
if their commands differ.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from machine import header

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from crash_commands import COMMANDS, FORCED, write_inputs
from crash_machine import (
    Ended,
    begin,
    differences,
    go_on,
    import_everything,
    misspoken,
    run,
    spread,
    tree,
)

EVERY = COMMANDS | FORCED
_LONGEST = 4  # kills of one chain


@dataclass(frozen=True)
class Trial:
    """One beginning, how it was stopped, and its end; `differing` names files lost, doubled or half there.

    `operations` are those of the undisturbed run, `by` is "kill", an error's name or "chain", `kills` how
    many were made: an error makes none.
    """

    command: str
    operations: int
    by: str
    number: int
    kills: int = 0
    differing: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from every other."""
        return self.command, self.by, self.number


class Place:
    """A folder with what the commands read; the undisturbed run of each, made when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        write_inputs(folder)
        self.folder, self.wholes = folder, {}

    def whole(self, name: str) -> tuple[int, dict[str, Any]]:
        """Operations and files of a command that nobody disturbs."""
        if name not in self.wholes:
            folder = self.folder / "whole"
            begin(EVERY[name], folder)
            ended = run(EVERY[name].parts, folder)
            if ended.code:
                raise SystemExit(f"{name} fails undisturbed: {ended.err}")
            self.wholes[name] = ended.operations, tree(folder)
            shutil.rmtree(folder)
        return self.wholes[name]

    def point(self, name: str, by: str, at: int) -> Trial:
        """Stop once, at an operation of the run, from 1."""
        return self._try(name, by, at, [partial(run, EVERY[name].parts, at=at, by=by)])

    def chain(self, name: str, number: int) -> Trial:
        """Kill at random, and what goes on again, up to `_LONGEST` times."""
        chance, (operations, _) = random.Random(f"{name} {number}"), self.whole(name)
        stops = []
        for _ in range(chance.randint(1, _LONGEST)):
            if chance.random() < 0.5:
                kill = partial(run, at=chance.randint(1, operations))
            else:
                kill = partial(run, limit=partial(_end_after, chance.uniform(0.01, 1.5)))
            stops.append(partial(go_on, EVERY[name], running=kill))
        return self._try(name, "chain", number, stops)

    def _try(self, name: str, by: str, number: int, stops: Sequence[Callable[..., Ended]]) -> Trial:
        operations, expected = self.whole(name)
        command, folder, made, wrong = EVERY[name], self.folder / "run", 0, []
        begin(command, folder)
        for stop in stops:
            ended = stop(folder=folder)
            made += ended.code == -signal.SIGKILL or ended.code == -signal.SIGPROF
            wrong += misspoken(ended)
        if ended.code:
            ended = go_on(command, folder)
        if ended.code:
            wrong.append(f"ends with {ended.code}: {ended.err.strip()[-300:]}")
        wrong += differences(folder, expected)
        shutil.rmtree(folder)
        return Trial(name, operations, by, number, made, wrong)


def _end_after(seconds: float) -> None:
    """Let the system end this process after so much processor time: nothing handles that signal."""
    signal.setitimer(signal.ITIMER_PROF, seconds)


def points(place: Place, asked: argparse.Namespace, done: Set[tuple[str, str, int]]) -> Iterator[Trial]:
    """Make the points of all commands in turn, without those that are done."""
    for by in asked.by.split(","):
        for name in asked.commands.split(","):
            for at in spread(place.whole(name)[0], asked.points):
                if (name, by, at) not in done:
                    yield place.point(name, by, at)


def chains(place: Place, asked: argparse.Namespace, done: Set[tuple[str, str, int]]) -> Iterator[Trial]:
    """Make chains of all commands in turn, without end."""
    for number in itertools.count():
        for name in asked.commands.split(","):
            if (name, "chain", number) not in done:
                yield place.chain(name, number)


def table(rows: Sequence[Trial]) -> Iterator[str]:
    """Yield the lines of a table: for each command how it was stopped, and how often that lost anything."""
    kinds = ("kill", "OSError", "MemoryError")
    yield "| Command | Operations | Killed at | OSError at | MemoryError at | Kills in chains | Lost |"
    yield "|---|---|---|---|---|---|---|"
    for name in dict.fromkeys(row.command for row in rows):
        own = [row for row in rows if row.command == name]
        at = [sum(row.by == kind for row in own) for kind in kinds]
        more = sum(row.kills for row in own if row.by == "chain")
        cells = (f"`{name}`", own[0].operations, *at, more, sum(bool(row.differing) for row in own))
        yield f"| {' | '.join(map(str, cells))} |"


def _noted(row: Trial, journal: Path | None) -> Trial:
    """Write a trial down, and say what it lost."""
    if journal:
        with journal.open("a") as file:
            file.write(json.dumps(asdict(row)) + "\n")
    if row.differing:
        print(f"  {row.command}, {row.by} {row.number}: {', '.join(row.differing)}", flush=True)
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line per command and the verdict; 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000, help="chains are made until there are so many")
    parser.add_argument("--points", type=int, default=50)
    parser.add_argument("--by", default="kill", help="kill, OSError, MemoryError, SIGTERM, SIGINT")
    parser.add_argument("--commands", default=",".join(EVERY))
    parser.add_argument("--journal", type=Path, help="one line per trial; those in it are not made again")
    asked = parser.parse_args(arguments)
    print(header("every command that writes, killed at operations and in chains"))
    rows: list[Trial] = []
    if asked.journal and asked.journal.exists():
        rows = [Trial(**json.loads(line)) for line in asked.journal.read_text().splitlines()]
    import_everything()
    with tempfile.TemporaryDirectory() as folder:
        place, done = Place(Path(folder)), {row.key for row in rows}
        for row in points(place, asked, done):
            rows.append(_noted(row, asked.journal))
        more = chains(place, asked, done)
        while sum(row.kills for row in rows) < asked.kills:
            rows.append(_noted(next(more), asked.journal))
    print("\n".join(table(rows)))
    lost = sum(bool(row.differing) for row in rows)
    print(f"  {sum(row.kills for row in rows)} kills in {len(rows)} runs, {lost} lost")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
