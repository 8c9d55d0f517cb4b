"""What ranges and weights can bring in the mini world: draw once, then read tables and a plot off it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.rewards import load_reward
from dfprompt.api.world import mini_folder
from dfprompt.config import nearest
from dfprompt.errors import ConfigError
from dfprompt.mini.judge import Judge
from dfprompt.mini.modifiers import MODIFIERS
from dfprompt.storage import write_text
from worlds.mini.ablations import RANGE_ARMS, WEIGHT_ARMS, ablate, disturbing, plot_ablations, tastes_of
from worlds.mini.build import digest
from worlds.mini.headroom import as_images, draw_grid, measure_headroom

Value = Literal["taste", "reward"]
Report = Callable[[str, int, int], None]


def measure_mini_headroom(
    output: Path,
    *,
    weights: Path | None = None,
    per_scene: int = 20,
    modifiers: Sequence[str] = (),
    by: Value = "taste",
    report: Report | None = None,
) -> dict[str, Any]:
    """Measure what choosing ranges and weights is worth, and write the tables and the plot into a folder.

    Each modifier's grid is drawn once and kept in OUTPUT/grids; a killed run goes on where it was. `by` is
    the raters' formula or the learnt reward. Raises ConfigError for an unknown modifier and for grids of
    another world, LoadError for missing weights.
    """
    for name in modifiers:
        if name not in MODIFIERS:
            raise ConfigError(f"the mini world has no modifier {name!r}; {nearest(name, list(MODIFIERS))}")
    root = weights or mini_folder()
    pipeline, judge = load_pipeline(root / "pipeline"), Judge.load(root / "judge")
    names = list(modifiers) or list(MODIFIERS)
    world, grids = f"{digest(root / 'pipeline')} {digest(root / 'judge')}", []
    for number, name in enumerate(names):
        if report:
            report(name, number, len(names))
        grids.append(draw_grid(pipeline, judge, name, output / "grids", per_scene=per_scene, world=world))
    if report:
        report("", len(names), len(names))
    values = [tastes_of(grid) if by == "taste" else reward_values(root, grid) for grid in grids]
    kept = np.stack([grid.correct[:, :, 0] for grid in grids])
    headroom = measure_headroom(np.stack(values), kept, names, grids[0].scenes)
    spoiling = [grid for grid in grids if grid.modifier in disturbing()]
    if spoiling:
        plot_ablations(spoiling, output / "ablations.png")
    ranges = [dataclasses.asdict(p) for p in ablate(spoiling, RANGE_ARMS)] if spoiling else []
    strengths = [dataclasses.asdict(p) for p in ablate(spoiling, WEIGHT_ARMS)] if spoiling else []
    result = {
        "by": by,
        "per_scene": per_scene,
        **dataclasses.asdict(headroom),
        "commonest_share": headroom.commonest_share,
        "ranges": ranges,
        "weights": strengths,
    }
    write_text(output / f"headroom-{by}.json", json.dumps(result, indent=1) + "\n")
    return result


def reward_values(root: Path, grid: Any) -> npt.NDArray[np.float64]:
    """The learnt composite reward of a grid's pictures, scored on the plain prompts: (P, 16)."""
    reward = load_reward(root)
    rows, width = grid.pictures.shape[:2]
    prompts = [prompt for prompt in grid.prompts for _ in range(width)]
    scores = reward(as_images(grid.pictures), prompts)
    found: npt.NDArray[np.float64] = scores.double().reshape(rows, width).numpy()
    return found
