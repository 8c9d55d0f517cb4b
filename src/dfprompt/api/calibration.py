"""Calibrating a reward on the pipeline in use: draw plain pictures, score them, set the thresholds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from dfprompt.api.checks import check
from dfprompt.api.companions import companions_of
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.rewards import PAPER, read_reward_settings, reward_shelf
from dfprompt.conditioning.prompts import Dialect
from dfprompt.config import collect_provenance, write_recipe
from dfprompt.config.recipes import PROVENANCE
from dfprompt.errors import ConfigError
from dfprompt.measurement.plain import PlainScores
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.requests.doors import front_door
from dfprompt.requests.learn import CalibrateRequest
from dfprompt.rewards import KINDS, Calibration, RewardSettings, calibrate, make_reward
from dfprompt.rewards.calibration import FEWEST_IMAGES

_DRAWN_AT_ONCE = 32  # only scores are kept, so thousands of large pictures never stand in memory


class Draws(Protocol):
    """The part of an image pipeline that calibration needs."""

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, plain: bool) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1]; `plain`: every character of a prompt is words."""
        ...


@dataclass(frozen=True)
class CalibrationRun:
    """What came out: the calibration and the recipe file it was written to."""

    calibration: Calibration
    output: Path

    def summary(self) -> str:
        """A few lines for people."""
        return self.calibration.summary()

    def to_json(self) -> dict[str, Any]:
        """images; gates by threshold name (before, after, share bound); spread by term."""
        done = self.calibration
        gates = {name: asdict(gate) for name, gate in done.gates.items()}
        return {"images": done.images, "gates": gates, "spread": dict(done.spread)}


@front_door(CalibrateRequest, "prompts", "output")
def calibrate_reward(
    request: CalibrateRequest, *, progress: Callable[[int, int], None] | None = None
) -> CalibrationRun:
    """Draw each plain prompt with each seed, set zeta and kappa to a quantile, and write the recipe.

    `prompts` are texts; `reward` is "mini", "paper", a recipe or a folder with a set of scores; by default
    the pipeline's own, or "paper". `progress` is called with pictures done and in all. Raises
    ConfigError for a reward without gates, InputError for an existing file without `force`.
    """
    check(request)
    prompts, seeds = list(request.prompts), request.numbers
    output, companions = Path(request.output), companions_of(request.pipeline)
    reward = request.reward or next(iter(companions.rewards), PAPER)
    rows = [(prompt, seed) for prompt in prompts for seed in seeds]
    if not rows:
        raise ConfigError("calibration needs prompts and seeds, got none")
    if len(rows) < FEWEST_IMAGES:
        raise ConfigError(
            f"calibration needs at least {FEWEST_IMAGES} plain pictures, {len(rows)} were asked for; "
            "give more prompts or seeds"
        )
    shelf = reward_shelf(request.device, request.dtype, None)
    settings, base = read_reward_settings(reward, shelf)
    if not settings.composite.c and not settings.composite.d:
        raise ConfigError(f"{reward}: both gates have weight 0 (c and d); there is nothing to calibrate")
    loaded = make_reward(settings, shelf, base=base, allow_code=request.allow_code)
    draws = _drawing(request)

    def measure(some: Sequence[tuple[str, int]], _: object) -> dict[str, Tensor]:
        texts, noises = zip(*some, strict=True)
        return loaded.plain_scores(draws.generate(list(texts), list(noises), plain=True), texts)

    scores = PlainScores(measure).columns(rows, at_once=_DRAWN_AT_ONCE, progress=progress)
    done = calibrate(scores, settings.composite, quantile=request.quantile)
    named = isinstance(request.pipeline, str | Path)
    name = request.pipeline if named else type(request.pipeline).__name__
    comment = (
        f"Calibrated on {name}, {len(prompts)} prompts, quantile {request.quantile:g}.\n{done.summary()}"
    )
    tables = _rebased(settings, base, output.parent).model_copy(update={"composite": done.constants})
    recipe = {**tables.model_dump(mode="json"), PROVENANCE: collect_provenance(seeds)}
    return CalibrationRun(done, write_recipe(recipe, output, comment=comment, force=request.force))


def _rebased(settings: RewardSettings, base: Path, target: Path) -> RewardSettings:
    """The settings with relative paths that are right from the folder of the new recipe."""

    def move(source: str) -> str:
        kind, colon, place = source.partition(":")
        if kind in KINDS and colon:
            return f"{kind}:{move(place)}"
        path = base / kind
        if source in (*KINDS, "mini") or Path(source).is_absolute() or not path.exists():
            return source
        return Path(os.path.relpath(path, target)).as_posix() + colon + place

    tables = settings.model_dump()
    tables["models"] = {key: move(value) if value else value for key, value in tables["models"].items()}
    for row in (*tables["extra"], *tables["judges"]):
        row.update({key: move(row[key]) for key in ("function", "score") if row.get(key)})
    return RewardSettings.model_validate(tables)


def _drawing(request: CalibrateRequest) -> Draws:
    """Return what draws as the request says; an object of the user's own draws as it does."""
    if not isinstance(request.pipeline, str | Path | ImagePipeline):
        own: Draws = request.pipeline
        return own
    return _Drawing(open_pipeline(request), request)


@dataclass(frozen=True)
class _Drawing:
    pipeline: ImagePipeline
    request: CalibrateRequest

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, plain: bool) -> Tensor:
        drawn = self.pipeline.draw(
            list(prompts),
            list(seeds),
            self.request.settings,
            negative_prompt=self.request.negative_prompt,
            dialect=Dialect(plain=plain),
        )
        return drawn.images
