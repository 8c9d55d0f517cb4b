"""What draws and scores in stage 2, built from its recipe: in this process, or once in every worker."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.api.scoring import load_judges
from dfprompt.api.world import mini_folder
from dfprompt.errors import GenerationError, TrainingError, WorkerLostError
from dfprompt.excerpt import quote
from dfprompt.executor import Work
from dfprompt.images.grid import make_grid
from dfprompt.images.saving import Entry, save_pictures
from dfprompt.images.tensors import to_pil
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import DFPrompt
from dfprompt.prompt.parser import read_back
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.picture_reward import PictureReward, Spent
from dfprompt.training.rl_settings import RlSettings
from dfprompt.training.rollout import Attempt, join_terms

MINI_CLIP = "clip:mini"


@dataclass(frozen=True)
class Facts:
    """What a run must know of its pipeline and reward, wherever they are."""

    steps: int | None
    weights: str
    calibration: dict[str, Any]


@dataclass(frozen=True)
class Page:
    """A page of pictures to draw: the samples of a validation, plain and as they are rewritten."""

    step: int
    samples: tuple[dict[str, Any], ...]
    path: Path


@dataclass(frozen=True)
class Scored:
    """The reward of some attempts, and what drawing them took."""

    terms: RewardTerms
    spent: Spent


Item: TypeAlias = Sequence[Attempt] | Page | None
"""Attempts to score, a page to draw, or nothing: the facts."""


class PictureWork(Work[Item, Any]):
    """Scores attempts on pictures (a `Rewarder`), draws pages, and says its facts."""

    def __init__(self, settings: RlSettings, *, allow_code: bool = False) -> None:
        super().__init__()
        self.settings, self.allow_code = settings, allow_code
        self.spent = Spent()
        self.calibration: dict[str, Any] = {}

    def build(self) -> PictureReward:
        """Load the pipeline and the scores."""
        asked = self.settings.pictures
        device = self.settings.device if asked.device == "auto" else asked.device
        pipeline = open_pipeline(asked.model_copy(update={"device": device}))
        return make_picture_reward(pipeline, self.settings, allow_code=self.allow_code)

    def work(self, built: PictureReward, item: Item) -> Any:
        """Return Facts, a page's path, or what attempts earned."""
        if item is None:
            steps = built.pipeline.resolve(self.settings.pictures.settings).num_inference_steps
            return Facts(steps, str(built.pipeline.origin.hash_weights()), built.calibration)
        if isinstance(item, Page):
            return draw_page(built.pipeline, self.settings, item)
        before = replace(built.spent)
        terms = built(item)
        after = built.spent
        spent = (getattr(after, name) - getattr(before, name) for name in vars(after))
        return Scored(terms, Spent(*spent))

    def receive(self, result: Any) -> Any:
        """Take the terms of a reward, and count what they took."""
        if isinstance(result, Facts):
            self.calibration = result.calibration
        if not isinstance(result, Scored):
            return result
        self.spent = _sum([self.spent, result.spent])
        return result.terms

    def split(self, item: Item) -> Sequence[Item]:
        """Halve a batch of attempts."""
        if item is None or isinstance(item, Page) or len(item) < 2:
            return [item]
        return [item[: len(item) // 2], item[len(item) // 2 :]]

    def join(self, results: Sequence[Any]) -> Any:
        """Put the terms of parts together."""
        return Scored(join_terms([each.terms for each in results]), _sum(each.spent for each in results))

    def lost(self, item: Item, reason: str) -> Any:
        """Name the prompt that ends workers."""
        if item is None or isinstance(item, Page):
            raise WorkerLostError(f"{'the page of samples' if item else 'loading the pipeline'}: {reason}")
        raise WorkerLostError(f"the picture of {quote(str(item[0].rewrite.prompt))}: {reason}")


def _sum(parts: Iterable[Spent]) -> Spent:
    listed = [(each.pictures, each.evaluations, each.saved) for each in parts]
    return Spent(*map(sum, zip(*listed, strict=True)))


def make_picture_reward(
    pipeline: ImagePipeline, settings: RlSettings, *, allow_code: bool = False
) -> PictureReward:
    """The reward of a recipe over the pictures of a pipeline, its judges beside it."""
    choice = settings.reward
    reward = load_reward(
        choice.source, device=settings.device, allow_code=allow_code, assignments=choice.changes
    )
    own = (*choice.changes, *settings.tastes.changes)
    tastes = {
        name: load_reward(source, device=settings.device, allow_code=allow_code, assignments=own)
        for name, source in settings.tastes.rewards.items()
    }
    judges = load_judges(choice.judges, device=settings.device, allow_code=allow_code)
    meaning = None
    if choice.meaning:
        named = f"clip:{mini_folder('clip')}" if choice.meaning == MINI_CLIP else choice.meaning
        meaning = load_reward(named, device=settings.device, allow_code=allow_code)
    pictures = settings.pictures
    return PictureReward(
        pipeline,
        reward,
        pictures.settings,
        judges=judges,
        meaning=meaning,
        tastes=tastes,
        share=pictures.share,
        negative_prompt=pictures.negative_prompt,
    )


def draw_page(pipeline: ImagePipeline, settings: RlSettings, page: Page) -> Path:
    """Write the page of a step; raises TrainingError where the disk is full."""
    asked = settings.pictures
    prompts = [DFPrompt.from_plain(each["plain"]) for each in page.samples]
    prompts += [read_back(each["text"]) for each in page.samples]
    seeds = [each["image_seed"] for each in page.samples] * 2
    drawn = pipeline.draw(prompts, seeds, asked.settings, negative_prompt=asked.negative_prompt)
    captions = [each["plain"] for each in page.samples]
    captions += [f"{each['text']} ({each['reward']:.3g})" for each in page.samples]
    grid = make_grid(
        to_pil(drawn.images),
        captions,
        columns=len(page.samples),
        row_titles=["plain", "rewritten"],
        title=f"step {page.step}",
    )
    try:
        save_pictures([Entry(page.path, grid, is_grid=True)], force=True)
    except GenerationError as error:
        raise TrainingError(f"{error}; make room and go on with --resume") from error
    return page.path
