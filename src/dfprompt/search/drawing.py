"""Measuring with pictures: drawn in lockstep, kept in files, scored from the files, written down at once."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from dfprompt.errors import RewardError, UnsupportedPipelineError
from dfprompt.images.reading import read_image
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.denoise import check_lockstep
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.requests.render import RenderSettings
from dfprompt.search.journal import Batch, Costs, Journal, Key, Scores
from dfprompt.search.ledger import Pair

Scorer = Callable[[Tensor, Sequence[Pair]], Sequence[Scores]]
"""Scores pictures (B,3,H,W) drawn from these pairs; plain's pairs come no later than those of their seed."""
PICTURES = "images"


class PictureMeasure:
    """Scores of (DF-Prompt, seed) by drawing, or from the journal where it knows them.

    Pictures are scored as they lie in their files (8 bits), so a search that goes on from files goes on
    the same. A seed's pictures are drawn together, whatever they have in common once. Raises RewardError
    when the reward fails for every picture of a seed, and what drawing raises; what was drawn is kept.
    """

    def __init__(
        self,
        pipeline: ImagePipeline,
        score: Scorer,
        reward: str,
        journal: Journal,
        settings: RenderSettings | None = None,
        negative_prompt: str | None = None,
        metadata: bool = True,
    ) -> None:
        self.pipeline, self.score, self.reward, self.journal = pipeline, score, reward, journal
        self.settings, self.negative, self.metadata = settings, negative_prompt, metadata
        self.stage = ""
        self.origin_of: Callable[[DFPrompt], str] = lambda prompt: ""
        self.drawn = 0  # pictures drawn in this process
        self.folder = journal.path.parent / PICTURES
        self.shares = _can_share(pipeline)
        self._asked: set[Batch] = set()

    def __call__(self, pairs: Sequence[Pair]) -> list[float | None]:
        """Return the reward of each picture, None where it failed."""
        for _, group in groupby(sorted(pairs, key=lambda pair: pair[1]), key=lambda pair: pair[1]):
            self._measure_seed(list(group))
        return [self.journal.scored[_key(pair)].scores.get(self.reward) for pair in pairs]

    def elapsed(self) -> float:
        """Return the seconds that drawing and scoring what was asked for took, before a restart or now.

        What lies in the journal and was not asked for yet does not count: a search that goes on looks at
        the same clock as the one before it and decides the same.
        """
        batches = self.journal.batches
        return sum(batches[batch].seconds for batch in self._asked if batch in batches)

    def path_of(self, pair: Pair) -> Path:
        """Return the file a picture lies in, or will."""
        digest = hashlib.sha256(str(pair[0]).encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return self.folder / f"{digest}-seed{pair[1]}.png"

    def _measure_seed(self, pairs: list[Pair]) -> None:
        batch, started = (self.stage, pairs[0][1]), time.monotonic()
        self._asked.add(batch)
        missing = [pair for pair in pairs if _key(pair) not in self.journal.files]
        there = [
            pair for pair in missing if self.path_of(pair).exists()
        ]  # killed before its line was written
        if there:
            self._note(there)
        drawn = self._draw([pair for pair in missing if pair not in there])
        if missing:
            drawn.seconds = time.monotonic() - started
            self.journal.add_costs(batch, drawn)
        started = time.monotonic()
        unscored = [pair for pair in pairs if _key(pair) not in self.journal.scored]
        if unscored:
            images = torch.stack([read_image(self.path_of(pair)).pixels for pair in unscored])
            scored = self.score(images, unscored)
            self._check(scored)
            self.journal.add_scores(zip(map(_key, unscored), scored, strict=True))
            self.journal.add_costs(batch, Costs(time.monotonic() - started))

    def _check(self, scored: Sequence[Scores]) -> None:
        """Stop where the reward fails throughout, its failures unrecorded: --resume asks it again."""
        if len(scored) > 1 and all(self.reward not in each.scores for each in scored):
            reason = scored[0].failed.get(self.reward, "it returned nothing")
            raise RewardError(
                f"{self.reward} failed for all {len(scored)} pictures of a seed: {reason}. They are kept in "
                f"{self.folder}; mend the reward and add --resume"
            )

    def _draw(self, pairs: Sequence[Pair]) -> Costs:
        if not pairs:
            return Costs()
        request = self.pipeline.read(
            [prompt for prompt, _ in pairs],
            [seed for _, seed in pairs],
            self.settings,
            negative_prompt=self.negative,
        )
        pictures = self.pipeline.draw_request(request, share=self.shares)
        recipes = pictures.recipes() if self.metadata else [None] * len(pairs)
        save_pictures(
            [
                Entry(self.path_of(pair), image, recipe)
                for pair, image, recipe in zip(pairs, to_pil(pictures.images), recipes, strict=True)
            ]
        )
        self.drawn += len(pairs)
        self._note(pairs)
        return Costs(0.0, pictures.evaluations, pictures.saved)

    def _note(self, pairs: Sequence[Pair]) -> None:
        folder = self.journal.path.parent
        rows = [(_key(pair), self.path_of(pair).relative_to(folder).as_posix()) for pair in pairs]
        self.journal.add_drawn(rows, self.stage, {_key(pair): self.origin_of(pair[0]) for pair in pairs})


def _key(pair: tuple[DFPrompt, int]) -> Key:
    return str(pair[0]), pair[1]


def _can_share(pipeline: ImagePipeline) -> bool:
    try:
        check_lockstep(pipeline.pipe)
    except UnsupportedPipelineError:
        return False
    return True
