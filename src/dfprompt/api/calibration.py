"""Calibrating a reward on the pipeline in use: draw plain pictures, score them, set the thresholds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from dfprompt.api.rewards import PAPER, read_reward_settings, reward_shelf
from dfprompt.config import collect_provenance, write_recipe
from dfprompt.config.recipes import PROVENANCE
from dfprompt.errors import ConfigError
from dfprompt.rewards import KINDS, Calibration, CompositeReward, RewardSettings, calibrate, make_reward
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


def calibrate_reward(
    prompts: Sequence[str],
    output: str | Path,
    *,
    pipeline: str | Draws = "mini",
    reward: str | None = None,
    quantile: float = 0.5,
    seeds: Sequence[int] = (0, 1),
    device: str = "auto",
    dtype: str = "auto",
    allow_code: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> CalibrationRun:
    """Draw each plain prompt with each seed, set zeta and kappa to a quantile, and write the recipe.

    `reward` is "mini", "paper", a recipe or a folder with a set of scores; by default "mini" for the mini
    pipeline and "paper" for any other. `progress` is called with pictures done and in all. Raises
    ConfigError for a reward without gates, or an existing file without `force`.
    """
    output, reward = Path(output), reward or ("mini" if pipeline == "mini" else PAPER)
    rows = [(prompt, seed) for prompt in prompts for seed in seeds]
    if 0 < len(rows) < FEWEST_IMAGES:
        raise ConfigError(
            f"calibration needs at least {FEWEST_IMAGES} plain pictures, {len(rows)} were asked for; "
            "give more prompts or seeds"
        )
    shelf = reward_shelf(device, dtype, None)
    settings, base = read_reward_settings(reward, shelf)
    if not settings.composite.c and not settings.composite.d:
        raise ConfigError(f"{reward}: both gates have weight 0 (c and d); there is nothing to calibrate")
    loaded = make_reward(settings, shelf, base=base, allow_code=allow_code)
    draws = _load_pipeline(pipeline, device) if isinstance(pipeline, str) else pipeline
    scores = _plain_scores(loaded, draws, rows, progress)
    done = calibrate(scores, settings.composite, quantile=quantile)
    name = pipeline if isinstance(pipeline, str) else type(pipeline).__name__
    comment = f"Calibrated on {name}, {len(prompts)} prompts, quantile {quantile:g}.\n{done.summary()}"
    tables = _rebased(settings, base, output.parent).model_copy(update={"composite": done.constants})
    recipe = {**tables.model_dump(mode="json"), PROVENANCE: collect_provenance(seeds)}
    return CalibrationRun(done, write_recipe(recipe, output, comment=comment, force=force))


def _plain_scores(
    reward: CompositeReward,
    draws: Draws,
    rows: Sequence[tuple[str, int]],
    progress: Callable[[int, int], None] | None,
) -> dict[str, Tensor]:
    parts: list[dict[str, Tensor]] = []
    for start in range(0, len(rows), _DRAWN_AT_ONCE):
        prompts, seeds = zip(*rows[start : start + _DRAWN_AT_ONCE], strict=True)
        parts.append(reward.plain_scores(draws.generate(list(prompts), list(seeds), plain=True), prompts))
        if progress:
            progress(start + len(prompts), len(rows))
    if not parts:
        raise ConfigError("calibration needs prompts and seeds, got none")
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


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


def _load_pipeline(name: str, device: str) -> Draws:
    from dfprompt.api.pipelines import load_pipeline

    pipeline: Draws = load_pipeline(name, device=device)
    return pipeline
