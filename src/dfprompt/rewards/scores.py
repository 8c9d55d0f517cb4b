"""The scores: CLIP score, PickScore, HPSv2.1 and the aesthetic score, on shared image towers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.rewards.aesthetic import AestheticHead
from dfprompt.rewards.contract import Records, Reward, check_batch, check_scores
from dfprompt.rewards.tower import ClipTower, ImageBatch

_COSINE_SLACK = 1e-4  # a cosine of two rounded unit vectors may pass 1 by so much


class Score(ABC):
    """A reward that can share its image features with others; subclasses compute one row of scores.

    Calling it follows the `Reward` contract: everything is checked before and after. `measures` says what it
    is a measure of, where that is one of "fidelity" (what was asked is there) and "artefacts" (pictures that
    no real one looks like); `family` tells scores of one making from others.
    """

    measures: str = ""

    @property
    def family(self) -> str:
        """What scores of one making have in common: their class."""
        return type(self).__name__

    def __init__(self, name: str) -> None:
        self.name = name

    @abstractmethod
    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """One unchecked score per picture of the batch, on any device."""

    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest score there can be; outside of it the model is broken."""
        return -math.inf, math.inf

    def towers(self) -> Iterator[ClipTower]:
        """The models behind this score."""
        yield from ()

    def to(self, device: torch.device | str) -> Score:
        """Move the models behind this score."""
        for tower in self.towers():
            tower.to(device)
        return self

    def score_batch(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None = None
    ) -> Tensor:
        """The checked scores (B,), float32 on the images' device, reusing what the batch holds already."""
        check_batch(batch.images, prompts, records)
        for tower in self.towers():
            batch.check_domain(tower.domain, prompts)
        low, high = self.bounds()
        return check_scores(
            self.compute(batch, prompts, records), batch.images, self.name, low=low, high=high
        )

    def columns(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None = None
    ) -> dict[str, Tensor]:
        """What a table shows: the score under its name; a composite also shows its terms."""
        return {self.name: self.score_batch(batch, prompts, records)}

    def __call__(self, images: Tensor, prompts: Sequence[str], records: Records | None = None) -> Tensor:
        """Score images (B, 3, H, W) in [0, 1] against B prompts; see `Reward`."""
        check_batch(images, prompts, records)
        return self.score_batch(ImageBatch(images), prompts, records)


class ClipScore(Score):
    """The cosine of picture and text, in [-1, 1]: CLIP score (ViT-L/14); HPSv2.1 and ICT on their weights.

    Published CLIP scores are often multiplied by 100 or 2.5 (Hessel et al., 2021); this one is not.
    """

    def __init__(self, tower: ClipTower, name: str = "clip") -> None:
        super().__init__(name)
        self.tower = tower

    def towers(self) -> Iterator[ClipTower]:
        """The one model."""
        yield self.tower

    def bounds(self) -> tuple[float, float]:
        """A cosine's."""
        return -1 - _COSINE_SLACK, 1 + _COSINE_SLACK

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """Row by row, each picture against its own prompt."""
        return (batch.features(self.tower) * self.tower.text_features(prompts)).sum(1)


class PickScore(ClipScore):
    """exp(logit_scale) times the cosine (Kirstain et al., Pick-a-Pic, 2023); near 17 to 24 on pictures."""

    def __init__(self, tower: ClipTower, name: str = "pickscore") -> None:
        super().__init__(tower, name)

    def bounds(self) -> tuple[float, float]:
        """The cosine's, scaled."""
        low, high = super().bounds()
        return self._scale() * low, self._scale() * high

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """Row by row, each picture against its own prompt."""
        return self._scale() * super().compute(batch, prompts, records)

    def _scale(self) -> float:
        return math.exp(self.tower.model.logit_scale.float().item())


class AestheticScore(Score):
    """How pretty, whatever was asked: a small head on the CLIP image vector (Schuhmann, LAION, 2022)."""

    def __init__(self, tower: ClipTower, head: AestheticHead, name: str = "aesthetic") -> None:
        super().__init__(name)
        if head.width != tower.width:
            raise ConfigError(
                f"the aesthetic head reads vectors of width {head.width}, but {tower.name} gives "
                f"{tower.width}; name the CLIP model that the head was trained on"
            )
        self.tower = tower
        self.head = head.to(tower.device).eval().requires_grad_(False)

    def towers(self) -> Iterator[ClipTower]:
        """The model whose image half is used."""
        yield self.tower

    @torch.no_grad()
    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """The head on the shared image features; the prompts are not read."""
        features = batch.features(self.tower)
        return self.head.to(features.device)(features)


class HpScore(Score):
    """How good a picture looks, in [0, 1]: a small head on the CLIP image vector as it is (HP of ICTHP).

    Y. Ba et al., Enhancing Reward Models for High-quality Image Generation: Beyond Text-Image Alignment, ICCV
    2025; the prompts are not read. Its companion ICT is a cosine, `ClipScore` on weights of its own.
    """

    def __init__(self, tower: ClipTower, head: AestheticHead, name: str = "hp") -> None:
        super().__init__(name)
        if head.width != tower.width:
            raise ConfigError(
                f"the head of hp reads vectors of width {head.width}, and {tower.name} gives {tower.width}"
            )
        self.tower = tower
        self.head = head.to(tower.device).eval().requires_grad_(False)

    def towers(self) -> Iterator[ClipTower]:
        """The model whose image half is used."""
        yield self.tower

    def bounds(self) -> tuple[float, float]:
        """A sigmoid's."""
        return 0.0, 1.0

    @torch.no_grad()
    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """The sigmoid of the head on the vectors before they are normalised."""
        vectors = batch.vectors(self.tower)
        return torch.sigmoid(self.head.to(vectors.device)(vectors))


def score_together(
    rewards: Mapping[str, Reward], images: Tensor, prompts: Sequence[str], records: Records | None = None
) -> dict[str, Tensor]:
    """Each reward's scores (B,) under its name; those on the same tower share one image pass.

    A plain callable takes part too; it is checked like the others.
    """
    check_batch(images, prompts, records)
    batch = ImageBatch(images)
    return {name: score_shared(reward, name, batch, prompts, records) for name, reward in rewards.items()}


def score_shared(
    reward: Reward, name: str, batch: ImageBatch, prompts: Sequence[str], records: Records | None = None
) -> Tensor:
    """One reward's checked scores on a batch that others use as well."""
    if isinstance(reward, Score):
        return reward.score_batch(batch, prompts, records)
    return check_scores(reward(batch.images, prompts, records), batch.images, name)
