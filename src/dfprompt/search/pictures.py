"""What a search asks for, measured: the reward of a DF-Prompt's picture from a seed.

The log answers what it knows, so a search that was killed is run again from the start: it asks the same
questions, and no picture is drawn twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN, Row, RowKey
from dfprompt.measurement.shots import Shot
from dfprompt.prompt import DFPrompt
from dfprompt.search.budgeted_scores import Pair

PICTURES = "images"
FIRST_ROUND = "candidates, round 1"


@dataclass(frozen=True)
class Costs:
    """Denoiser evaluations done, and spared by sharing."""

    evaluations: int
    spared: int

    @property
    def spared_share(self) -> float:
        """The evaluations spared of those that drawing every picture apart takes."""
        return self.spared / max(1, self.spared + self.evaluations)

    def to_json(self) -> dict[str, Any]:
        """Return done and saved."""
        return {"done": self.evaluations, "saved": self.spared}


def add_costs(rows: Iterable[Row]) -> Costs:
    """Return what rows cost together; each holds its share of its batch.

    >>> add_costs([Row("plain", "a", "a cat", seed, evaluations=2.5, spared=0.5) for seed in (0, 1)])
    Costs(evaluations=5, spared=1)
    """
    listed = list(rows)
    return Costs(round(sum(row.evaluations for row in listed)), round(sum(row.spared for row in listed)))


class SearchedPictures:
    """The reward of (DF-Prompt, seed), None where it failed: what a search calls.

    A seed's pictures are drawn together, whatever they have in common once. `stage` is noted with what is
    asked next. Raises RewardError where the reward fails for every picture of a seed, and what drawing
    raises; what was drawn is kept.
    """

    def __init__(self, measurement: Measurement, plain: DFPrompt, reward: str) -> None:
        self.measurement, self.plain, self.reward = measurement, plain, reward
        self.prompt = PlainPrompt(plain.plain_text)
        self.stage = ""
        self._asked: set[RowKey] = set()

    def __call__(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Return the reward of each picture."""
        shots = [self._shot(pair) for pair in pairs]
        self._asked |= {shot.key for shot in shots}
        by_seed = sorted(shots, key=lambda shot: shot.seed)
        self.measurement.measure(by_seed, at_once=1, retry_failed=True)
        return [self.measurement.log.rows[shot.key].scores.get(self.reward) for shot in shots]

    def elapsed(self) -> float:
        """Return the seconds that drawing and scoring what was asked for took, before a restart or now.

        What the log holds and was not asked for yet does not count: a search that goes on looks at the same
        clock as the one before it and decides the same.
        """
        rows = self.measurement.log.rows
        return sum(rows[key].seconds for key in self._asked if key in rows)

    def path_of(self, pair: Pair) -> Path:
        """Return a picture's file."""
        return self.measurement.log.folder / str(self._shot(pair).picture)

    def scores(self) -> dict[tuple[str, int], Mapping[str, float]]:
        """Return every picture's scores, by DF-Prompt as text and seed."""
        return {(str(row.df_prompt), row.seed): row.scores for row in self.measurement.log.rows.values()}

    def costs(self, stage: str = "") -> Costs:
        """Return what the pictures of stages that begin so cost."""
        return add_costs(row for row in self.measurement.log.rows.values() if row.stage.startswith(stage))

    def _shot(self, pair: Pair) -> Shot:
        words, seed = pair
        method = PLAIN if words == self.plain else str(words)
        digest = hashlib.sha256(str(words).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        picture = f"{PICTURES}/{digest}-seed{seed}.png"
        return Shot(method, self.prompt, words, seed, (seed,), picture, stage=self.stage)
