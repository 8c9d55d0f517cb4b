"""The reward of stage 2 on real pictures: a rewrite is drawn with its seed and scored on its plain prompt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.measurement.isolation import forget
from dfprompt.measurement.plain import PlainScores
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings
from dfprompt.rewards import CompositeReward, Score
from dfprompt.rewards.composite import RewardTerms
from dfprompt.rewards.tower import ImageBatch
from dfprompt.training.rollout import PLAIN_MEANING, SHOWN, Attempt, join_terms, select_terms

_PLAIN_KEPT = 4096  # plain pictures whose scores are remembered; a validation set is far smaller


@dataclass
class Spent:
    """What a run has drawn: pictures, denoiser evaluations, and those that sharing saved."""

    pictures: int = 0
    evaluations: int = 0
    saved: int = 0


class PictureReward:
    """Draws attempts in the lockstep loop and scores them: a `Rewarder`.

    `judges` are scored beside the reward, as scores "judge/NAME", and never enter it; `meaning` likewise,
    for watched attempts alone, as "meaning" and the plain picture's "plain_meaning". Plain pictures are drawn
    for that and where the reward compares with them, each once per prompt and noise. `tastes` are the rewards
    of attempts for a taste, by name, in the place of `reward`; none of them may compare with plain pictures,
    and only scores that all of them are made of are told apart.
    """

    def __init__(
        self,
        pipeline: ImagePipeline,
        reward: Score,
        settings: RenderSettings | None = None,
        *,
        judges: Mapping[str, Score] | None = None,
        meaning: Score | None = None,
        tastes: Mapping[str, Score] | None = None,
        share: bool = True,
        negative_prompt: str | None = None,
    ) -> None:
        self.pipeline, self.reward, self.settings = pipeline, reward, settings or RenderSettings()
        self.judges, self.share, self.negative = dict(judges or {}), share, negative_prompt
        self.composite = reward if isinstance(reward, CompositeReward) else None
        self.compares = self.composite is not None and self.composite.needs_plain
        self.tastes = {"": reward, **(tastes or {})}
        if len(self.tastes) > 1 and any(getattr(each, "needs_plain", False) for each in self.tastes.values()):
            raise ConfigError(
                "rewards of tastes cannot compare with plain pictures: set composite.b=0 and thresholds that "
                "are not relative"
            )
        self.told = set.intersection(*map(_made_of, self.tastes.values()))
        self.meaning = meaning
        self.spent = Spent()
        self.plain = PlainScores(self._measure_plain, _PLAIN_KEPT)

    @property
    def calibration(self) -> dict[str, Any]:
        """The constants of a composite reward: a run that goes on must go on with the same ones."""
        return self.composite.constants.model_dump(mode="json") if self.composite else {}

    def __call__(self, attempts: Sequence[Attempt]) -> RewardTerms:
        """The reward of each attempt; raises GenerationError or RewardError."""
        texts = [each.rewrite.plain for each in attempts]
        seeds = [each.image_seed for each in attempts]
        records = [dict(each.record or {}) for each in attempts]
        watched = self.meaning is not None and any(each.watched for each in attempts)
        keys = list(zip(texts, seeds, strict=True))
        plain = self.plain.columns(keys, records) if self.compares or watched else {}
        images = self._draw([each.rewrite.prompt for each in attempts], seeds)
        terms = self._reward(images, texts, records, plain, [each.taste for each in attempts])
        return self._watch(terms, images, texts, records, plain, watched)

    def _measure_plain(
        self, keys: Sequence[tuple[str, int]], records: Sequence[Mapping[str, Any]]
    ) -> dict[str, Tensor]:
        """Draw and score plain pictures (text, seed) that were not yet.

        Apart from the rewrites, though some steps could be shared: rounding depends on the batch, and a
        resumed run, which has forgotten its plain pictures, must come to the same bits.
        """
        texts = [text for text, _ in keys]
        images = self._draw([DFPrompt.from_plain(text) for text in texts], [seed for _, seed in keys])
        scores = self.composite.plain_scores(images, texts, records) if self.composite else {}
        if self.meaning is not None:
            scores[PLAIN_MEANING] = self.meaning.score_batch(ImageBatch(images), texts, records)
        return scores

    def _draw(self, prompts: Sequence[DFPrompt], seeds: Sequence[int]) -> Tensor:
        watched = [] if self.meaning is None else [self.meaning]
        forget([*self.tastes.values(), *self.judges.values(), *watched])
        with warnings.catch_warnings():
            # What a policy tries on the way need not be words of the pipeline's world; its users' words are.
            warnings.filterwarnings("ignore", message="outside the")
            drawn = self.pipeline.draw(
                list(prompts), list(seeds), self.settings, negative_prompt=self.negative, share=self.share
            )
        self.spent.pictures += len(prompts)
        self.spent.evaluations += drawn.evaluations
        self.spent.saved += drawn.saved
        return drawn.images

    def _reward(
        self,
        images: Tensor,
        texts: Sequence[str],
        records: Sequence[Mapping[str, Any]],
        plain: Mapping[str, Tensor],
        tastes: Sequence[str],
    ) -> RewardTerms:
        """Each picture's reward by its own taste."""
        order: list[int] = []
        parts = []
        for taste in dict.fromkeys(tastes):
            rows = [at for at, each in enumerate(tastes) if each == taste]
            of = [texts[at] for at in rows], [records[at] for at in rows]
            parts.append(_only(_terms(self.tastes[taste], ImageBatch(images[rows]), *of, plain), self.told))
            order += rows
        return parts[0] if len(parts) == 1 else select_terms(join_terms(parts), torch.tensor(order).argsort())

    def _watch(
        self,
        terms: RewardTerms,
        images: Tensor,
        texts: Sequence[str],
        records: Sequence[Mapping[str, Any]],
        plain: Mapping[str, Tensor],
        watched: bool,
    ) -> RewardTerms:
        batch = ImageBatch(images)
        scores = dict(terms.scores)
        for name, judge in self.judges.items():
            scores[f"judge/{name}"] = judge.score_batch(batch, texts, records).cpu()
        if watched and self.meaning is not None:
            scores[SHOWN] = self.meaning.score_batch(batch, texts, records).cpu()
            scores[PLAIN_MEANING] = plain[PLAIN_MEANING]
        return replace(terms, scores=scores)


def _terms(
    reward: Score,
    batch: ImageBatch,
    texts: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    plain: Mapping[str, Tensor],
) -> RewardTerms:
    if isinstance(reward, CompositeReward):
        return reward.score_terms(batch, texts, records, plain=plain)
    values = reward.score_batch(batch, texts, records).cpu()
    return RewardTerms(values, {reward.name: values}, {}, {})


def _made_of(reward: Score) -> set[str]:
    """The names of the scores a reward is made of."""
    return {*reward.parts, *reward.extra} if isinstance(reward, CompositeReward) else {reward.name}


def _only(terms: RewardTerms, told: Set[str]) -> RewardTerms:
    """The rewards, and of what they are made of only these scores: rows of one batch have the same ones."""
    return RewardTerms(
        terms.reward,
        {name: each for name, each in terms.scores.items() if name in told},
        {name: each for name, each in terms.terms.items() if name.rpartition("_")[0] in told},
        {name: each for name, each in terms.binds.items() if name.rpartition("_")[0] in told},
    )
