"""A person's own taste: named terms of scores and of looks, weighted by what that person chose.

The file says which scores the terms come from and what each counts, in units of choice: of two pictures
whose tastes differ by 1 the better one is chosen in 73 % (the model is Bradley and Terry's).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from dfprompt.config import Config, load_config
from dfprompt.config.tomltext import to_toml
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.rewards.composite import CompositeReward
from dfprompt.rewards.contract import Records
from dfprompt.rewards.scores import Score
from dfprompt.rewards.tower import ClipTower, ImageBatch
from dfprompt.storage import write_text

TASTE, TASTE_FILE = "taste", "taste.toml"
_LUMA = (0.2126, 0.7152, 0.0722)  # Rec. 709
_USUAL = {"brightness": 0.5, "contrast": 0.2, "warmth": 0.0, "colour": 0.25, "detail": 0.02}
_SIDE = 128  # looks are measured on no more pixels than that: they are to be the same at every size


class Term(Config):
    """One term: what it counts for this person, with a 95 % interval, and for the crowd."""

    name: str
    """The term, as scores name it, or a look (brightness ... detail; _away: distance squared)."""
    weight: float
    """What one unit of it counts."""
    low: float
    """Lower end of the weight's interval."""
    high: float
    """Upper end of it."""
    crowd: float = 0.0
    """What it counts for the crowd, on the same scale."""


class Taste(Config):
    """What `dfprompt taste` writes."""

    dfprompt: Literal[1] = 1
    """Version of the file."""
    choices: int = Field(ge=0)
    """Choices learnt from, ties included."""
    ties: int = Field(default=0, ge=0)
    """Pairs in which nothing was preferred."""
    agrees: float | None = Field(default=None, ge=0, le=1)
    """Share of choices it foretells, each by the others (half for none); absent without any."""
    crowd_agrees: float | None = Field(default=None, ge=0, le=1)
    """The same share for the crowd."""
    rewards: tuple[str, ...]
    """The scores behind the terms, as --reward names them; the first one is the crowd's."""
    terms: tuple[Term, ...] = Field(min_length=1)
    """What counts, and how much."""

    def save(self, path: Path) -> None:
        """Write the file whole."""
        write_text(path, to_toml(self.model_dump()))


def read_taste(source: str | Path) -> Taste:
    """Read a taste's file, or the one in a folder; raises ConfigError for anything else."""
    path = Path(source)
    taste = load_config(Taste, path / TASTE_FILE if path.is_dir() else path)
    for each in taste.rewards:
        refuse_taste(each)
    return taste


def refuse_taste(reward: str) -> None:
    """Raise ConfigError for a taste among a taste's scores: it might be itself."""
    if reward.startswith(f"{TASTE}:"):
        raise ConfigError(f"a taste counts scores, not another taste: name those behind {quote(reward)}")


def measure_looks(images: Tensor) -> dict[str, Tensor]:
    """Return what pictures (B, 3, H, W) in [0, 1] look like, whatever they show, each (B,).

    Mean luma, its spread, red minus blue, distance from grey, and mean difference from the soft picture; and
    how far each is away from a usual value, squared, for those who like the middle.

    >>> measure_looks(torch.ones(1, 3, 4, 4))["brightness"]
    tensor([1.])
    """
    height, width = images.shape[-2:]
    part = min(1.0, _SIDE / max(height, width))
    size = max(1, round(height * part)), max(1, round(width * part))
    small = functional.interpolate(images.float(), size, mode="area") if part < 1 else images.float()
    grey = (small * torch.tensor(_LUMA).to(small).view(1, 3, 1, 1)).sum(1, keepdim=True)
    soft = functional.avg_pool2d(functional.pad(grey, (1, 1, 1, 1), mode="replicate"), 3, 1)
    looks = {
        "brightness": grey.mean((1, 2, 3)),
        "contrast": grey.flatten(1).std(1, correction=0),
        "warmth": (small[:, 0] - small[:, 2]).mean((1, 2)),
        "colour": (small.amax(1) - small.amin(1)).mean((1, 2)),
        "detail": (grey - soft).abs().mean((1, 2, 3)),
    }
    return looks | {f"{name}_away": (value - _USUAL[name]) ** 2 for name, value in looks.items()}


class TasteTerms:
    """The terms there are: those of composites, the columns of other scores, and looks.

    `crowd` are the weights by which terms make the first score; of all other terms they are 0. Raises
    ConfigError for a reward that compares with plain pictures, which a single picture cannot be asked for.
    """

    def __init__(self, scores: Sequence[Score]) -> None:
        self.scores = list(scores)
        self.crowd = dict.fromkeys(self.names_of(self.scores[0]), 1.0) if self.scores else {}
        for score in self.scores:
            if isinstance(score, CompositeReward) and score.needs_plain:
                raise ConfigError(
                    f"the reward {score.name} compares with the plain picture, and a taste sees one picture "
                    "at a time; set b to 0 and the relative thresholds to false"
                )

    @staticmethod
    def names_of(score: Score) -> tuple[str, ...]:
        """Return the terms that make a score."""
        if not isinstance(score, CompositeReward):
            return (score.name,)
        parts = [f"{name}_{'term' if name == 'aesthetic' else 'gate'}" for name in score.parts]
        return (*parts, *(f"{name}_term" for name in score.extra))

    def measure(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None
    ) -> dict[str, Tensor]:
        """Return every term (B,); of two scores with a term of one name the first one's."""
        found: dict[str, Tensor] = {}
        for score in self.scores:
            columns = score.columns(batch, prompts, records)
            found = {name: columns[name] for name in self.names_of(score)} | found
        return found | measure_looks(batch.images)


class TasteScore(Score):
    """How much a person likes a picture: the weighted sum of terms, without a zero of its own."""

    def __init__(self, terms: TasteTerms, weights: Mapping[str, float], name: str = TASTE) -> None:
        super().__init__(name)
        self.terms, self.weights = terms, dict(weights)

    def towers(self) -> Iterator[ClipTower]:
        """The models behind the terms, each once."""
        yield from dict.fromkeys(tower for score in self.terms.scores for tower in score.towers())

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """The weighted sum."""
        return self.columns(batch, prompts, records)[self.name]

    def columns(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None = None
    ) -> dict[str, Tensor]:
        """The taste, and its terms as they were measured."""
        found = self.terms.measure(batch, prompts, records)
        if lacking := [name for name in self.weights if name not in found]:
            raise ConfigError(
                f"the taste has a term {lacking[0]!r} that its scores do not give ({', '.join(found)}); "
                "learn it again with these scores"
            )
        total = sum((weight * found[name] for name, weight in self.weights.items()), torch.zeros(len(batch)))
        return {self.name: torch.as_tensor(total), **found}
