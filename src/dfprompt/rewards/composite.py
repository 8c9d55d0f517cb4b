"""The composite reward: equation 4 of the paper, each term reported on its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.rewards.contract import Records, check_batch, check_scores
from dfprompt.rewards.scores import Score
from dfprompt.rewards.settings import CompositeSettings
from dfprompt.rewards.tower import ClipTower, ImageBatch

AESTHETIC, CLIP, PREFERENCE = "aesthetic", "clip", "preference"


@dataclass(frozen=True, eq=False)
class RewardTerms:
    """A reward taken apart, everything (B,) float32.

    `reward` is the sum of `terms` (aesthetic_term, clip_gate, preference_gate, NAME_term per further
    reward); `scores` are the models' own numbers; `binds` says for each gate which rows it punishes.
    """

    reward: Tensor
    scores: Mapping[str, Tensor]
    terms: Mapping[str, Tensor]
    binds: Mapping[str, Tensor]


def compute_terms(
    constants: CompositeSettings, scores: Mapping[str, Tensor], plain: Mapping[str, Tensor] | None = None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Equation 4 on given scores: (terms, binds), terms summing to the reward; pure tensor arithmetic.

    scores and plain: "aesthetic", "clip", "preference", each (B,); plain are those of the plain images.

    >>> scores = {"aesthetic": torch.tensor([5.0]), "clip": torch.tensor([0.25])}
    >>> compute_terms(CompositeSettings(), scores)[0]["clip_gate"]
    tensor([-0.6000])
    """
    terms: dict[str, Tensor] = {}
    binds: dict[str, Tensor] = {}
    if AESTHETIC in scores:
        minus = constants.b * plain[AESTHETIC] if plain and constants.b else 0.0
        terms["aesthetic_term"] = constants.a * (scores[AESTHETIC] - minus)
    gates = (
        (CLIP, constants.c, constants.zeta, constants.zeta_relative),
        (PREFERENCE, constants.d, constants.kappa, constants.kappa_relative),
    )
    for name, weight, threshold, relative in gates:
        if name in scores:
            start = plain[name] if plain and relative else 0.0
            short = (scores[name] - (start + threshold)).clamp_max(0)
            terms[f"{name}_gate"] = weight * short
            binds[f"{name}_gate"] = short < 0
    return terms, binds


class CompositeReward(Score):
    """Equation 4 over three scores and any further ones; a score whose weight is 0 is not computed.

    Always give the plain prompt: a reward that is scored on the modifiers rewards repeating them.
    """

    def __init__(
        self,
        constants: CompositeSettings,
        *,
        aesthetic: Score | None = None,
        clip: Score | None = None,
        preference: Score | None = None,
        extra: Mapping[str, tuple[Score, float]] | None = None,
        judges: Mapping[str, Score] | None = None,
        name: str = "reward",
    ) -> None:
        super().__init__(name)
        self.constants = constants
        self.extra = dict(extra or {})
        self.judges = dict(judges or {})
        weighted = (
            (AESTHETIC, aesthetic, constants.a),
            (CLIP, clip, constants.c),
            (PREFERENCE, preference, constants.d),
        )
        for part, score, weight in weighted:
            if weight and score is None:
                raise ConfigError(f"the {part} score has weight {weight:g} but no model; set its weight to 0")
        self.parts = {part: score for part, score, weight in weighted if weight and score is not None}
        if not self.parts and not self.extra:
            raise ConfigError("every weight of the reward is 0; give one of a, c, d, or a further reward")
        if clash := {*self.parts} & {*self.extra}:
            raise ConfigError(f"a further reward cannot be called {', '.join(sorted(clash))}")

    @property
    def needs_plain(self) -> bool:
        """Whether the plain images' scores enter: b is not 0, or a threshold is relative."""
        constants = self.constants
        return (
            (AESTHETIC in self.parts and constants.b != 0)
            or (CLIP in self.parts and constants.zeta_relative)
            or (PREFERENCE in self.parts and constants.kappa_relative)
        )

    def towers(self) -> Iterator[ClipTower]:
        """The models of all parts and judges, each once."""
        scores = [*self.parts.values(), *(score for score, _ in self.extra.values()), *self.judges.values()]
        yield from dict.fromkeys(tower for score in scores for tower in score.towers())

    def plain_scores(
        self, images: Tensor, prompts: Sequence[str], records: Records | None = None
    ) -> dict[str, Tensor]:
        """The parts' scores of plain images, to be kept and given to `score_terms` as `plain`."""
        check_batch(images, prompts, records)
        return self._part_scores(ImageBatch(images), prompts, records)

    def score_terms(
        self,
        images: Tensor | ImageBatch,
        prompts: Sequence[str],
        records: Records | None = None,
        *,
        plain: Mapping[str, Tensor] | None = None,
    ) -> RewardTerms:
        """The reward and all its terms; `plain` holds the scores of the same rows' plain images.

        Raises ConfigError when this reward compares with plain images and `plain` is missing or ragged.
        """
        batch = images if isinstance(images, ImageBatch) else ImageBatch(images)
        check_batch(batch.images, prompts, records)
        plain = self._checked_plain(plain, batch)
        scores = self._part_scores(batch, prompts, records)
        terms, binds = compute_terms(self.constants, scores, plain)
        for name, (score, weight) in self.extra.items():
            scores[name] = score.score_batch(batch, prompts, records)
            terms[f"{name}_term"] = weight * scores[name]
        reward = torch.stack(list(terms.values())).sum(0)
        return RewardTerms(check_scores(reward, batch.images, self.name), scores, terms, binds)

    def compute(self, batch: ImageBatch, prompts: Sequence[str], records: Records | None) -> Tensor:
        """The reward alone, for rewards that need no plain image."""
        return self.score_terms(batch, prompts, records).reward

    def columns(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None = None
    ) -> dict[str, Tensor]:
        """The reward, its scores, its terms, and the judges."""
        terms = self.score_terms(batch, prompts, records)
        judged = {name: judge.score_batch(batch, prompts, records) for name, judge in self.judges.items()}
        return {self.name: terms.reward, **terms.scores, **terms.terms, **judged}

    def _part_scores(
        self, batch: ImageBatch, prompts: Sequence[str], records: Records | None
    ) -> dict[str, Tensor]:
        return {name: score.score_batch(batch, prompts, records) for name, score in self.parts.items()}

    def _checked_plain(
        self, plain: Mapping[str, Tensor] | None, batch: ImageBatch
    ) -> Mapping[str, Tensor] | None:
        if not self.needs_plain:
            return None
        if plain is None:
            raise ConfigError(
                "this reward compares with the plain image of the same seed (b, zeta_relative or "
                "kappa_relative): pass plain=reward.plain_scores(plain_images, prompts) to score_terms"
            )
        for name in self.parts:
            if name not in plain or plain[name].shape != (len(batch),):
                raise ConfigError(
                    f"plain scores need {name!r} with one value for each of {len(batch)} images"
                )
        return {name: plain[name].to(batch.images.device, torch.float32) for name in self.parts}
