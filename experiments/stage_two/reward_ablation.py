"""The reward ablation: stage 2 trained with parts of the reward and other constants, all judged alike.

It lives in the folder of an experiment: the data and stage 1 of the command `arms` are taken where they
are there. What a point's own reward says of it is no comparison; every point is scored with the recipe's.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dfprompt.api.curation import run_curation
from dfprompt.api.evaluation import EvaluationRun, evaluate
from dfprompt.api.rewards import load_reward
from dfprompt.config import load_config
from dfprompt.data.curate import RECIPE, SCORES
from dfprompt.data.settings import CurateSettings
from dfprompt.errors import ConfigError
from dfprompt.evaluation.ablation_plots import plot_points
from dfprompt.evaluation.effects import Effect
from dfprompt.evaluation.files import write_text
from dfprompt.evaluation.plotting import check_plotting
from dfprompt.measurement.rows import PLAIN
from dfprompt.rewards import CompositeReward
from dfprompt.training.rl_settings import PpoSettings
from experiments.stage_two.arms import Arm
from experiments.stage_two.experiment import (
    Recipes,
    curate_once,
    mini_judges,
    train_stage_one,
    train_stage_two,
)
from experiments.stage_two.reward_points import Point, make_points

Note = Callable[[str], None]
FOLDER, TABLE, RESULT, PLOT = "reward-points", "reward.md", "reward.json", "reward.png"


@dataclass(frozen=True, eq=False)
class RewardAblation:
    """What came out: the points, their evaluation, the page, and the files written."""

    points: tuple[Point, ...]
    run: EvaluationRun
    page: str
    files: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the points and all numbers of the evaluation."""
        return {
            "points": [asdict(point) for point in self.points],
            "files": [str(path) for path in self.files],
            **self.run.to_json(),
        }


def choose_points(
    recipes: Recipes, sweeps: Mapping[str, Sequence[float]], only: Sequence[str]
) -> tuple[Point, ...]:
    """The points around the constants of the recipes; raises ConfigError where their reward has none."""
    settings = load_config(PpoSettings, recipes.ppo, recipes.changes)
    reward = load_reward(settings.reward.source, assignments=settings.reward.changes)
    if not isinstance(reward, CompositeReward):
        raise ConfigError(
            f"the reward {settings.reward.source!r} has no constants to sweep; take a composite reward"
        )
    confidence = load_config(CurateSettings, recipes.curate).confidence
    return make_points(reward.constants, confidence, sweeps, only)


def ablate_reward(
    recipes: Recipes,
    points: Sequence[Point],
    folder: Path,
    *,
    prompts: str | Path = "mini",
    count: int = 48,
    seeds: Sequence[int] = (0, 1, 2, 3),
    pipeline: str | Path = "mini",
    rewards: Sequence[str] = (),
    judges: Sequence[str] = (),
    note: Note,
) -> RewardAblation:
    """Train every point that is not trained yet, evaluate all on held-out prompts, write table and plot.

    One training seed per point: differences between points that are smaller than those between training
    seeds of one recipe mean nothing. Raises what curation, training and evaluation raise.
    """
    check_plotting()
    policies = train_points(recipes, points, folder, note)
    note(f"evaluating {len(policies)} policies")
    run = evaluate(
        prompts,
        ["plain", *(f"{name}={path}" for name, path in policies.items())],
        folder / "reward-evaluation",
        seeds=seeds,
        pipeline=pipeline,
        rewards=rewards,
        judges=mini_judges(prompts, judges),
        count=count,
    )
    page = format_points(points, run)
    files = (folder / TABLE, folder / PLOT, folder / RESULT)
    found = RewardAblation(tuple(points), run, page, files)
    write_text(files[0], page)
    plot_points(point_effects(points, run), files[1])
    write_text(files[2], json.dumps({"dfprompt": 1, **found.to_json()}, indent=1, allow_nan=False) + "\n")
    return found


def train_points(recipes: Recipes, points: Sequence[Point], folder: Path, note: Note) -> dict[str, Path]:
    """Train what is not trained yet; returns the policy of stage 1 and of each point."""
    data = folder / "data"
    curate_once(recipes, data, note)
    found = {"stage-1": train_stage_one(recipes, folder / "stage-1", data, "phrase", note)}
    own = load_config(PpoSettings, recipes.ppo, recipes.changes)
    for point in points:
        place, base, read = folder / FOLDER, found["stage-1"], data
        if point.confidence:
            read = filter_again(recipes, data, place / "data" / point.name, point.confidence)
            base = train_stage_one(recipes, place / "stage-1" / point.name, read, "phrase", note)
        reward = json.dumps([*own.reward.changes, *point.reward])
        arm = Arm(point.name, point.says, changes=(f"reward.changes={reward}",))
        found[point.name] = train_stage_two(
            recipes, place / "runs" / point.name, arm, own.seed, base, read, note
        )
    return found


def filter_again(recipes: Recipes, data: Path, output: Path, changes: Sequence[str]) -> Path:
    """The data set with another filter, from what was measured for `data`: nothing is drawn again."""
    output.mkdir(parents=True, exist_ok=True)
    for name in (RECIPE, SCORES):
        if (data / name).is_file():
            shutil.copyfile(data / name, output / name)
    run_curation(recipes.source, recipes.curate, changes, output=output, resume=True)
    return output


def format_points(points: Sequence[Point], run: EvaluationRun) -> str:
    """The page: per point the difference to plain in every score, with intervals, and what it writes."""
    scores = list(dict.fromkeys(line.score for line in run.summary.scores))
    says = {"stage-1": "stage 1, before any reward", **{point.name: point.says for point in points}}
    variety = {line.method: line.diversity for line in run.summary.methods}
    lines = [
        "# What the reward is made of",
        "",
        *([run.note, ""] if run.note else []),
        f"{run.summary.prompts} held-out prompts, {run.summary.seeds} seeds each, one training seed per "
        "point. Difference to plain on the same noise, in brackets the 95 % bootstrap interval over prompts. "
        "All are scored alike, whatever they were trained on.",
        "",
        "| point | what | " + " | ".join(scores) + " | modifiers per prompt | different ones |",
        "|---|---|" + "---:|" * (len(scores) + 2),
    ]
    for name, what in says.items():
        cells = [_difference(run, name, score) for score in scores]
        own = variety[name]
        each = own.modifiers / own.rewrites if own.rewrites else 0.0
        lines.append(f"| {name} | {what} | {' | '.join(cells)} | {each:.1f} | {own.distinct} |")
    return "\n".join(lines) + "\n"


def point_effects(points: Sequence[Point], run: EvaluationRun) -> list[Effect]:
    """Stage 1 and every point against plain, in every score; the arm is the group of the point."""
    groups = {"stage-1": "stage-1", **{point.name: point.group for point in points}}
    return [
        Effect(line.method, groups[line.method], PLAIN, line.score, line.role, line.comparison)
        for line in run.summary.scores
        if line.method in groups
    ]


def _difference(run: EvaluationRun, name: str, score: str) -> str:
    found = run.summary.of(name, score).comparison
    if found is None:
        return "not measured"
    low, high = found.interval
    return f"{found.difference:+.3f} ({low:+.3f} to {high:+.3f})"
