"""The reward ablation: its points by hand, the filter without drawing, a whole one on tiny models."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dfprompt.data.curate import RECIPE, SCORES
from dfprompt.data.settings import ConfidenceSettings
from dfprompt.errors import ConfigError
from dfprompt.rewards.settings import CompositeSettings
from dfprompt.training.metrics import read_rows
from experiments.stage_two.experiment import Recipes
from experiments.stage_two.reward_ablation import (
    RewardAblation,
    ablate_reward,
    choose_points,
    filter_again,
    point_effects,
)
from experiments.stage_two.reward_points import Point, make_points
from tiny_policies import tiny_tokenizer, tiny_trunk

OWN = CompositeSettings(a=1.0, b=0.0, c=5.0, d=1.0, zeta=0.4, kappa=6.0)
FILTER = ConfidenceSettings(sigma=0.5, gamma=0.44)


def test_points_turn_one_knob_each_around_the_recipes_own_value() -> None:
    points = make_points(OWN, FILTER)
    assert points[0] == Point("all", "the recipe as it is")
    named = {point.name: point for point in points}
    assert len(named) == len(points) == 1 + 3 + 2 * 6
    assert named["clip-only"].reward == ("composite.a=0", "composite.d=0")
    assert named["zeta-0.3"].reward == ("composite.zeta=0.30000000000000004",)
    assert named["kappa-7.5"].reward == ("composite.kappa=7.5",)
    assert named["sigma-1"].confidence == ("confidence.sigma=1.0",)
    assert not named["sigma-1"].reward
    assert {named["gamma-0.22"].value, named["gamma-0.88"].value} == {0.22, 0.88}


def test_a_sweep_replaces_the_usual_values_and_leaves_out_the_recipes_own() -> None:
    points = make_points(OWN, FILTER, {"a": (0.0, 1.0, 3.0, 3.0)}, ["terms"])
    names = [point.name for point in points]
    assert names == ["all", "aesthetic-only", "clip-only", "preference-only", "a-0", "a-3"]


def test_a_filter_that_is_off_has_no_points() -> None:
    off = FILTER.model_copy(update={"enabled": False})
    assert all(not point.confidence for point in make_points(OWN, off))
    with pytest.raises(ConfigError, match="so gamma changes nothing"):
        make_points(OWN, off, only=["gamma"])


def test_a_knob_there_is_not_and_too_many_points_are_refused() -> None:
    with pytest.raises(ConfigError, match="kapa"):
        make_points(OWN, FILTER, only=["kapa"])
    with pytest.raises(ConfigError, match="too many"):
        make_points(OWN, FILTER, {"a": tuple(range(2, 60))})


def recipes_of(folder: Path, pipeline: Path, reward: Path) -> Recipes:
    tiny_trunk().save_pretrained(folder / "lm")
    tiny_tokenizer().save_pretrained(folder / "lm")
    shorts = (
        "a red cat",
        "the blue star",
        "a cat at night",
        "a hill in the snow",
        "a red star",
        "a blue cat",
    )
    lines = [f"{short}, {word}\n" for short in shorts for word in ("golden hour", "8k", "film grain")]
    (folder / "prompts.txt").write_text("".join(lines))
    texts = {
        # A filter that would have to draw fails: the pipeline is nowhere.
        "curate": '[confidence]\npipeline = "nowhere"\naesthetic = "aesthetic"\nclip = "clip"\n'
        "[sets]\nvalidation = 0.3\ntest = 0.0\n",
        "sft": f'device = "cpu"\n[model]\nbase = "{folder / "lm"}"\n[optimizer]\nsteps = 2\n',
        "ppo": f'device = "cpu"\nseed = 5\n[rollout]\nrows = 4\nmax_new_tokens = 6\n[optimizer]\nsteps = 1\n'
        f'batch_size = 4\n[validation]\nrows = 2\n[pictures]\nsource = "{pipeline}"\n'
        f'num_inference_steps = 2\n[reward]\nsource = "{reward}"\nchanges = ["composite.zeta=0.1"]\n',
    }
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text)
    return Recipes(
        str(folder / "prompts.txt"), **{name: folder / f"{name}.toml" for name in texts}, grpo=None
    )


def write_measured(folder: Path, recipes: Recipes) -> Path:
    """A data set that was measured: golden hour helps on both seeds, 8k on one, film grain on none."""
    from dfprompt.api.curation import run_curation
    from dfprompt.config import load_config
    from dfprompt.data.cleaning import iter_pairs
    from dfprompt.data.readers import read_records
    from dfprompt.data.settings import CurateSettings

    settings = load_config(CurateSettings, recipes.curate)
    gains = {"golden hour": (0.5, 0.25), "8k": (0.5, -0.5), "film grain": (-0.5, -0.25)}
    folder.mkdir()
    rows = []
    for pair in iter_pairs(
        read_records(recipes.source, settings.source), settings.short_form, settings.cleaning
    ):
        gain = gains[pair.modifiers[0]]
        rows.append(
            {"key": pair.measured_as, "aesthetic_gain": gain, "clip_gain": (0.0, 0.0), "judge_gains": {}}
        )
    (folder / SCORES).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert recipes.curate is not None
    (folder / RECIPE).write_text(recipes.curate.read_text())
    run_curation(recipes.source, recipes.curate, output=folder, resume=True)
    return folder


def kept(folder: Path) -> dict[str, set[bool]]:
    found: dict[str, set[bool]] = {}
    for name in ("train", "validation"):
        for line in (folder / f"{name}.jsonl").read_text().splitlines():
            row = json.loads(line)
            found.setdefault(row["modifiers"][0], set()).add(row["kept"])
    return found


def test_another_filter_keeps_other_rows_and_draws_nothing(tmp_path: Path) -> None:
    recipes = recipes_of(tmp_path, tmp_path, tmp_path)
    data = write_measured(tmp_path / "data", recipes)
    assert kept(data) == {"golden hour": {True}, "8k": {True}, "film grain": {False}}
    strict = filter_again(recipes, data, tmp_path / "strict", ["confidence.sigma=1.0"])
    assert kept(strict) == {"golden hour": {True}, "8k": {False}, "film grain": {False}}
    loose = filter_again(recipes, data, tmp_path / "loose", ["confidence.sigma=0.0"])
    assert kept(loose) == {"golden hour": {True}, "8k": {True}, "film grain": {True}}
    assert kept(data)["8k"] == {True}, "the data set it came from is as it was"


@pytest.mark.nightly
def test_points_are_trained_on_their_own_reward_and_scored_on_the_same(
    tmp_path: Path, tiny_folder: Callable[[str], Path], reward_set: Path
) -> None:
    recipes = recipes_of(tmp_path, tiny_folder("sd1"), reward_set)
    folder, said = tmp_path / "all", list[str]()
    folder.mkdir()
    write_measured(folder / "data", recipes)
    chosen = choose_points(recipes, {"a": (3.0,), "sigma": (1.0,)}, ["terms"])
    points = [point for point in chosen if point.name in ("all", "clip-only", "a-3", "sigma-1")]
    (tmp_path / "test.txt").write_text("a red cat\na blue star\n")

    def run() -> RewardAblation:
        return ablate_reward(
            recipes,
            points,
            folder,
            prompts=tmp_path / "test.txt",
            seeds=[0, 1],
            pipeline=tiny_folder("sd1"),
            rewards=[f"clip:{reward_set / 'clip'}"],
            note=said.append,
        )

    found = run()
    runs = folder / "reward-points" / "runs"
    first = {name: read_rows(runs / name / "metrics.jsonl")[0] for name in ("all", "clip-only", "a-3")}
    # The same draws at the first step; 3 * aesthetic in place of 1 *, and no aesthetic at all.
    raised = first["a-3"]["reward"] - first["all"]["reward"]
    assert raised == pytest.approx(2 * first["all"]["scores/aesthetic"], rel=1e-4)
    assert "scores/aesthetic" not in first["clip-only"]
    recipe = tomllib.loads((runs / "a-3" / "recipe.toml").read_text())
    assert recipe["reward"]["changes"] == ["composite.zeta=0.1", "composite.a=3.0"]
    assert (folder / "reward-points" / "stage-1" / "sigma-1" / "policy").is_dir()
    assert {row.method for row in found.run.outcome.rows} == {"plain", "stage-1", *(p.name for p in points)}
    assert [effect.arm for effect in point_effects(points, found.run)] == [
        "stage-1",
        "all",
        "terms",
        "a",
        "sigma",
    ]
    assert all(path.stat().st_size > 100 for path in found.files)
    assert "| clip-only | the clip term alone |" in found.page
    said.clear()
    assert run().page == found.page
    assert said == [f"evaluating {len(points) + 1} policies"], "nothing is trained twice"
