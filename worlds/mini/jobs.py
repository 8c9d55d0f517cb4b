"""What the commands do: build a world, install it, check it, show it, write its card."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from dfprompt.api.world import mini_folder
from dfprompt.config import nearest
from dfprompt.errors import ConfigError, LoadError
from dfprompt.storage import reported, whole_files, whole_folder, write_text
from worlds.mini.build import Build
from worlds.mini.card import make_card
from worlds.mini.check import Check, check_world, judge_every_modifier
from worlds.mini.recipe import STAGES, MiniRecipe
from worlds.mini.show import make_sheet

PIECES = ("pipeline", "clip", "aesthetic", "preference", "judge", "lm")
TRAINED = ("sft", "policy")  # what stages 1 and 2 make of the language model, where they were run
Report = Callable[[str, int, int, dict[str, float]], None]


def build_mini(
    folder: Path,
    *,
    stages: Sequence[str] = (),
    seed: int = 1,
    device: str = "cpu",
    minutes: float | None = None,
    resume: bool = False,
    processes: int = 1,
    start_from: Path | None = None,
    report: Report | None = None,
) -> Path:
    """Build the mini world, or some stages of it, in a folder; returns the folder of its weights.

    `minutes` shortens or lengthens every training (two CPU cores are assumed); `start_from` are weights
    of an earlier build, whose autoencoder and denoiser are trained on. Raises ConfigError when the folder
    holds a build and `resume` is false, or one of another recipe.
    """
    for stage in stages:
        if stage not in STAGES:
            raise ConfigError(f"there is no stage {stage!r} of the mini build; {nearest(stage, STAGES)}")
    if (folder / "build.json").exists() and not resume:
        raise ConfigError(f"{folder} holds a build; add --resume to go on with it, or take another folder")
    recipe = dataclasses.replace(MiniRecipe(), seed=seed)
    if minutes is not None:
        recipe = recipe.within(minutes)
    build = Build(folder, recipe, device=device, report=report, processes=processes, start_from=start_from)
    build.run(tuple(stages) or STAGES)
    return build.weights


def install_mini(weights: Path) -> Path:
    """Copy built weights into this installation, so that "mini" finds them; returns where they lie."""
    missing = [piece for piece in PIECES if not (weights / piece).is_dir()]
    if missing:
        raise LoadError(f"{weights} lacks {', '.join(missing)}; run: python -m worlds.mini build --resume")
    root = Path(str(files("dfprompt.mini"))) / "weights"
    try:
        with whole_folder(root) as unfinished:
            _copy_world(weights, unfinished)
    except OSError as error:
        raise LoadError(
            f"{root} cannot be written ({error}); the built weights lie in {weights} and work from there, "
            f"for instance --pipeline {weights / 'pipeline'}"
        ) from error
    return root


def _copy_world(weights: Path, folder: Path) -> None:
    for piece in (*PIECES, *(name for name in TRAINED if (weights / name).is_dir())):
        shutil.copytree(weights / piece, folder / piece)
    for extra in sorted(path for path in weights.iterdir() if path.is_file()):
        shutil.copy(extra, folder / extra.name)  # domain.json, reward.toml, the card and its samples
    if (weights.parent / "build.json").is_file():
        shutil.copy(weights.parent / "build.json", folder / "build.json")


def read_headroom(file: Path) -> dict[str, Any]:
    """A headroom-*.json that `measure_mini_headroom` wrote; raises LoadError for anything else."""
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        missing = {"by", "per_scene", "fidelity", "best_pairs", "commonest_share", "modifier_to_scene"} - set(
            found
        )
    except (OSError, ValueError, TypeError) as error:
        raise LoadError(f"{file} cannot be read ({error}); the command headroom writes one") from error
    if missing:
        raise LoadError(f"{file} is no headroom-*.json of the command headroom: no {min(missing)} in it")
    return found


def check_mini(weights: Path | None = None, *, images: int = 192) -> list[dict[str, Any]]:
    """Measure the built world against what it must reach: one row per quality."""
    rows = check_world(weights or mini_folder(), images=images)
    return [
        {
            **dataclasses.asdict(row),
            "interval": row.interval,
            "measured": row.measured,
            "goal": row.goal,
            "reached": row.reached,
        }
        for row in rows
    ]


def write_mini_card(
    weights: Path,
    checks: Sequence[dict[str, Any]],
    *,
    headroom: dict[str, Any] | None = None,
    images: int = 200,
) -> Path:
    """Write the model card with its samples beside the weights; returns the card.

    `checks` are `check_mini`'s rows; `headroom` what `measure_mini_headroom` found;
    `images` renders per modifier are shown to the judges.
    """
    given = {field.name for field in dataclasses.fields(Check)}
    rows = [Check(**{key: value for key, value in row.items() if key in given}) for row in checks]
    record = next((p for p in (weights, weights.parent) if (p / "build.json").is_file()), None)
    text = make_card(
        weights,
        rows,
        judge_every_modifier(weights, images),
        record=json.loads((record / "build.json").read_text()) if record else None,
        headroom=headroom,
    )
    show_mini(weights / "samples.png", weights=weights)
    write_text(weights / "README.md", text)
    return weights / "README.md"


def show_mini(output: Path, *, weights: Path | None = None, seed: int = 1) -> Path:
    """Draw the contact sheet of the built world into a PNG file."""
    sheet = make_sheet(weights or mini_folder(), seed=seed)
    with reported(output, ConfigError, "check the folder"), whole_files(output) as (unfinished,):
        sheet.save(unfinished, format="PNG")
    return output
