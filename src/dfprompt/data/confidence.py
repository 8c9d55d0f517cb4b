"""Equation 1: how sure it is that a person's modifiers improve the picture and keep what was asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from dfprompt.data.records import Pair
from dfprompt.data.settings import ConfidenceSettings
from dfprompt.errors import ConfigError
from dfprompt.images.reading import read_image
from dfprompt.measurement.isolation import forget
from dfprompt.measurement.plain import PlainScores
from dfprompt.rewards import Records, Reward, score_together

AESTHETIC, CLIP = "aesthetic", "clip"
Generate = Callable[[Sequence[str], Sequence[int]], Tensor]


@dataclass(frozen=True)
class Instruments:
    """What confidence is measured with: a pipeline that draws (B, 3, H, W) in [0, 1], and scores by name.

    "aesthetic" and "clip" decide; any others are judges, which decide nothing and are reported.
    """

    generate: Generate
    scores: Mapping[str, Reward]

    def __post_init__(self) -> None:
        if missing := {AESTHETIC, CLIP} - set(self.scores):
            raise ConfigError(f"confidence needs the scores aesthetic and clip; there is no {missing.pop()}")

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of the scores that decide nothing."""
        return tuple(name for name in self.scores if name not in (AESTHETIC, CLIP))


@dataclass(frozen=True)
class Measured:
    """One pair's pictures compared, per seed: with modifiers minus without."""

    key: str
    aesthetic_gain: tuple[float, ...]
    clip_gain: tuple[float, ...]
    judge_gains: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def confidence(self, gamma: float) -> float:
        """Equation 1 over this pair's seeds."""
        gains = torch.tensor([self.aesthetic_gain]), torch.tensor([self.clip_gain])
        return float(compute_confidence(*gains, gamma))


@dataclass(frozen=True)
class Unmeasured:
    """One pair that could not be measured, and why."""

    key: str
    reason: str


def compute_confidence(aesthetic_gain: Tensor, clip_gain: Tensor, gamma: float) -> Tensor:
    """S(s', s) = E[u(aes(I') - aes(I)) u(CLIP(s, I') - CLIP(s, I) + gamma)] (equation 1), u the unit step.

    aesthetic_gain, clip_gain (B, K) over K seeds; returns (B,) in [0, 1]. A gain of exactly nothing is
    no improvement: u(0) = 0. CLIP is always that of the short prompt.

    >>> gain = torch.tensor([[0.2, -0.1]])
    >>> compute_confidence(gain, torch.tensor([[-0.005, 0.1]]), gamma=0.01)
    tensor([0.5000])
    """
    return ((aesthetic_gain > 0) & (clip_gain + gamma > 0)).float().mean(-1)


class Meter:
    """Measures pairs in batches; the plain picture of a short prompt is drawn once for all its pairs there.

    A batch knows nothing of those before it, so that it comes to the same bits in any process.
    """

    def __init__(self, instruments: Instruments, settings: ConfidenceSettings) -> None:
        self.instruments, self.settings = instruments, settings
        self.seeds = list(range(settings.first_seed, settings.first_seed + settings.seeds))

    def measure(self, pairs: Sequence[Pair]) -> list[Measured]:
        """The gains of each pair: its own pictures where the source has them, drawn ones elsewhere."""
        if not pairs:
            return []
        forget(self.instruments.scores.values())
        plain = PlainScores(self._measure_plain).columns(
            [(pair.short, pair.record.plain_image) for pair in pairs], [pair.record.extra for pair in pairs]
        )
        whole = self._scores(
            [pair.prompt for pair in pairs],
            [pair.short for pair in pairs],
            [pair.record.image for pair in pairs],
            [pair.record.extra for pair in pairs],
        )
        gains = {name: whole[name] - plain[name] for name in whole}
        judged = {name: gains[name].tolist() for name in self.instruments.judges}
        return [
            Measured(
                key=pair.measured_as,
                aesthetic_gain=tuple(gains[AESTHETIC][row].tolist()),
                clip_gain=tuple(gains[CLIP][row].tolist()),
                judge_gains={name: tuple(values[row]) for name, values in judged.items()},
            )
            for row, pair in enumerate(pairs)
        ]

    def _measure_plain(
        self, keys: Sequence[tuple[str, str | None]], records: Sequence[Mapping[str, Any]]
    ) -> dict[str, Tensor]:
        """Scores (B, K) of short forms, drawn or in a picture of the source."""
        shorts = [short for short, _ in keys]
        return self._scores(shorts, shorts, [file for _, file in keys], records)

    def _scores(
        self, texts: Sequence[str], shorts: Sequence[str], files: Sequence[str | None], records: Records
    ) -> dict[str, Tensor]:
        """Every score (B, K) of the pictures of texts, against the short prompts."""
        drawn = [row for row, file in enumerate(files) if file is None]
        scores = {name: torch.zeros(len(texts), len(self.seeds)) for name in self.instruments.scores}
        if drawn:
            prompts = [texts[row] for row in drawn for _ in self.seeds]
            images = self.instruments.generate(prompts, [seed for _ in drawn for seed in self.seeds])
            if len(images) != len(prompts):
                raise ConfigError(f"the pipeline drew {len(images)} pictures for {len(prompts)} prompts")
            self._fill(scores, images, drawn, shorts, records, each=len(self.seeds))
        for row, file in enumerate(files):
            if file is not None:  # one given picture stands for every seed
                images = read_image(file).pixels[None]
                self._fill(scores, images, [row], shorts, records, each=1)
        return scores

    def _fill(
        self,
        scores: dict[str, Tensor],
        images: Tensor,
        rows: Sequence[int],
        shorts: Sequence[str],
        records: Records,
        *,
        each: int,
    ) -> None:
        asked = [shorts[row] for row in rows for _ in range(each)]
        known = [records[row] for row in rows for _ in range(each)]
        for name, found in score_together(self.instruments.scores, images, asked, known).items():
            columns = found.cpu().reshape(len(rows), each)
            scores[name][list(rows)] = columns.expand(len(rows), len(self.seeds))
