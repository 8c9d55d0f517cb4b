"""The record of a search: a line per picture, on the disk before the next one is drawn.

A search that was killed is run again from the start, and what stands here is answered from here: the
engine asks the same questions, so no picture is drawn twice. Lines are

- {"dfprompt": 1, "search": {...}}: what is searched; a record of another search is refused;
- {"drawn": ..., "seed": ..., "file": ..., "stage": ..., "origin": ...}: a picture lies in its file; the
  stage that asked for it, and where its modifiers come from;
- {"scored": ..., "seed": ..., "scores": {...}, "failed": {...}}: its scores, and those that failed;
- {"seconds": ..., "evaluations": ..., "saved": ..., "stage": ..., "batch": seed}: what drawing or scoring
  a batch (the pictures of a seed in a stage) cost, and what sharing spared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Any

from dfprompt.errors import GenerationError, InputError
from dfprompt.storage import append_lines, read_lines, reported

VERSION = 1
Key = tuple[str, int]
"""DF-Prompt as text, and seed."""
Batch = tuple[str, int]
"""Stage, and the seed whose pictures were drawn together."""


@dataclass
class Scores:
    """A picture's scores by name, and why others failed."""

    scores: dict[str, float] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass
class Costs:
    """Seconds of drawing and scoring; denoiser evaluations done, and spared by sharing."""

    seconds: float = 0.0
    evaluations: int = 0
    saved: int = 0

    @property
    def saved_share(self) -> float:
        """The evaluations spared of those that drawing every picture apart takes."""
        return self.saved / max(1, self.saved + self.evaluations)

    def plus(self, other: Costs) -> Costs:
        """Return both together.

        >>> Costs(1.0, 6, 2).plus(Costs(0.5, 10, 0))
        Costs(seconds=1.5, evaluations=16, saved=2)
        """
        sums = (getattr(self, name) + getattr(other, name) for name in ("seconds", "evaluations", "saved"))
        return Costs(*sums)


class Journal:
    """The record in a file: `files`, `origins` and `scored` by picture, and what each batch cost.

    Raises InputError where the file exists and `resume` is false, or where it records another search.
    """

    def __init__(self, path: Path, search: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.files: dict[Key, str] = {}
        self.origins: dict[Key, str] = {}
        self.scored: dict[Key, Scores] = {}
        self.batches: dict[Batch, Costs] = {}
        head = {"dfprompt": VERSION, "search": dict(search)}
        if not path.exists():
            self._append([head])
            return
        if not resume:
            raise InputError(f"{path} holds a search; add --resume to go on with it, or take another folder")
        self._read(head)

    @property
    def costs(self) -> Costs:
        """What the whole search cost."""
        return self.costs_of("")

    def costs_of(self, stage: str) -> Costs:
        """Return what the batches of stages that begin so cost."""
        found = (costs for (name, _), costs in self.batches.items() if name.startswith(stage))
        return reduce(Costs.plus, found, Costs())

    def add_drawn(
        self, rows: Iterable[tuple[Key, str]], stage: str, origins: Mapping[Key, str] | None = None
    ) -> None:
        """Record pictures that lie in their files."""
        listed, known = list(rows), origins or {}
        self._append(
            {"drawn": key[0], "seed": key[1], "file": file, "stage": stage, "origin": known.get(key, "")}
            for key, file in listed
        )
        self.files |= dict(listed)
        self.origins |= {key: known.get(key, "") for key, _ in listed}

    def add_scores(self, rows: Iterable[tuple[Key, Scores]]) -> None:
        """Record the scores of pictures."""
        listed = list(rows)
        self._append(
            {"scored": key[0], "seed": key[1], "scores": each.scores, "failed": each.failed}
            for key, each in listed
        )
        self.scored |= dict(listed)

    def add_costs(self, batch: Batch, costs: Costs) -> None:
        """Record what a batch cost, or more of it."""
        self._append([{**vars(costs), "stage": batch[0], "batch": batch[1]}])
        self._count(batch, costs)

    def _count(self, batch: Batch, costs: Costs) -> None:
        self.batches[batch] = self.batches.get(batch, Costs()).plus(costs)

    def _append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        advice = "make room, then add --resume"
        with reported(self.path, GenerationError, advice):
            append_lines(self.path, (json.dumps(row) for row in rows))

    def _read(self, head: Mapping[str, Any]) -> None:
        with reported(self.path, InputError, "check the folder"):
            lines = read_lines(self.path)
        if not lines:
            self._append([head])
            return
        for number, line in enumerate(lines, 1):
            try:
                self._take(json.loads(line), head)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise InputError(f"{self.path}, line {number}: not a line of a search") from error

    def _take(self, row: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        if "search" in row:
            self._check(row, head)
        elif "drawn" in row:
            key = (str(row["drawn"]), int(row["seed"]))
            self.files[key], self.origins[key] = row["file"], row["origin"]
        elif "scored" in row:
            self.scored[row["scored"], row["seed"]] = Scores(dict(row["scores"]), dict(row["failed"]))
        else:
            costs = Costs(float(row["seconds"]), int(row["evaluations"]), int(row["saved"]))
            self._count((str(row["stage"]), int(row["batch"])), costs)

    def _check(self, row: Mapping[str, Any], head: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(head["search"]))
        found = row["search"]
        changed = [key for key in {**wanted, **found} if wanted.get(key) != found.get(key)]
        if row.get("dfprompt") != VERSION or changed:
            raise InputError(
                f"{self.path} holds another search: {', '.join(sorted(changed)) or 'the version'} differs; "
                "repeat the command as it was, or take another folder"
            )
