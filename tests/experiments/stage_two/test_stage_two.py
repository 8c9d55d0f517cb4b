"""The stage 2 experiment on tiny models: every arm trained once, gone on with, evaluated."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dfprompt.errors import ConfigError, TrainingError
from experiments.stage_two.arms import ARMS, choose_arms
from experiments.stage_two.experiment import (
    Recipes,
    draw_side_by_side,
    evaluate_arms,
    evaluate_closely,
    run_arms,
    runs_of,
)
from experiments.stage_two.overview import format_overview
from experiments.stage_two.workers import run_jobs
from light_jobs import dies, fails, works
from tiny_policies import tiny_tokenizer, tiny_trunk

PROMPTS = "".join(
    f"{short}, {modifier}\n"
    for short in (
        "a red cat",
        "the blue star",
        "a cat at night",
        "a hill in the snow",
        "a red star",
        "a blue cat",
    )
    for modifier in ("golden hour", "oil painting", "8k", "film grain")
)
SMALL = (
    "[rollout]\nrows = 4\nmax_new_tokens = 6\n[optimizer]\nsteps = 1\nbatch_size = 4\n"
    "[validation]\nrows = 2\n"
)


@pytest.fixture
def recipes(tmp_path: Path, tiny_folder: Callable[[str], Path], reward_set: Path) -> Recipes:
    tiny_trunk().save_pretrained(tmp_path / "lm")
    tiny_tokenizer().save_pretrained(tmp_path / "lm")
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    pictures = f'[pictures]\nsource = "{tiny_folder("sd1")}"\nnum_inference_steps = 2\n[reward]\n'
    pictures += f'source = "{reward_set}"\nchanges = ["composite.d=0"]\n'
    texts = {
        "curate": "[confidence]\nenabled = false\n[sets]\nvalidation = 0.3\ntest = 0.0\n",
        "sft": f'device = "cpu"\n[model]\nbase = "{tmp_path / "lm"}"\n[optimizer]\nsteps = 2\n',
        "ppo": 'device = "cpu"\n' + SMALL + pictures,
        "grpo": 'device = "cpu"\n' + SMALL + "[group]\nsize = 2\n" + pictures,
    }
    for name, text in texts.items():
        (tmp_path / f"tiny-{name}.toml").write_text(text)
    files = {name: tmp_path / f"tiny-{name}.toml" for name in texts}
    return Recipes(str(tmp_path / "prompts.txt"), **files)


@pytest.mark.nightly
def test_arms_are_trained_once_and_evaluated_beside_the_baselines(
    recipes: Recipes, tmp_path: Path, tiny_folder: Callable[[str], Path], reward_set: Path
) -> None:
    folder, said = tmp_path / "all", list[str]()
    arms = [arm for arm in ARMS if arm.name in ("frozen", "grpo", "token")]
    policies = run_arms(recipes, folder, arms[:1], said.append)
    assert set(policies) == {"stage-1", "frozen-1", "frozen-2", "frozen-3"}
    trained = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    said.clear()
    policies = run_arms(recipes, folder, arms, said.append, processes=2)
    assert {path: path.stat().st_mtime_ns for path in trained} == trained, "nothing is trained twice"
    # The other stage 1; how many there are; one line for each that stands, two for each that is new.
    assert len(said) == 2 + 3 + 2 * 4, said
    assert said[-1].endswith("7 of 7")
    assert {"stage-1-token", "token-1", "grpo-1"} <= set(policies)
    (tmp_path / "test.txt").write_text("a red cat\na blue star\n")
    run = evaluate_arms(
        policies,
        folder / "evaluation",
        prompts=tmp_path / "test.txt",
        seeds=[0],
        pipeline=tiny_folder("sd1"),
        rewards=[f"clip:{reward_set / 'clip'}"],
        note=said.append,
    )
    table = run.to_markdown()
    for name in ("plain", "best-of-4", "frozen-2", "token-1", "stripped:token-1", "grpo-1"):
        assert name in table
    asked = {
        "prompts": tmp_path / "test.txt",
        "pipeline": tiny_folder("sd1"),
        "rewards": [f"clip:{reward_set / 'clip'}"],
    }
    with_placebo = {**policies, "placebo-1": policies["frozen-1"]}
    options = {**asked, "seeds": [0], "search_images": 8}
    draw_side_by_side(with_placebo, folder / "broad", folder / "close", options, 3, said.append)
    drawn = (folder / "close" / "rows.jsonl").read_bytes()
    assert (folder / "broad" / "rows.jsonl").is_file()
    close = evaluate_closely(with_placebo, folder / "close", seeds=[0, 1, 2], **asked, note=said.append)
    assert (folder / "close" / "rows.jsonl").read_bytes() == drawn, "evaluating again draws nothing"
    methods = {row.method for row in close.outcome.rows}
    three = {f"{arm}-{seed}" for arm in ("frozen", "grpo") for seed in (1, 2, 3)}
    assert methods == {"plain", "stripped:placebo-1"} | three
    assert len(close.outcome.rows) == 8 * 2 * 3
    assert format_overview(run.summary, note="of mini").startswith("of mini\n\n2 held-out")
    overview = format_overview(run.summary)
    (plain,) = (line for line in overview.splitlines() if line.startswith("| plain |"))
    assert plain.count("|") == overview.splitlines()[2].count("|")
    assert all(f"| {line.method} |" in overview for line in run.summary.methods)
    # What was trained under another recipe is no result of this one; a folder that was moved still is.
    for other, said_so in (
        (replace(recipes, changes=("optimizer.steps=2",)), r"optimizer\.steps: 1 before, 2 now"),
        (replace(recipes, sft=with_line(recipes.sft, "seed = 9")), r"stage-1 .*seed: 0 before, 9 now"),
        (replace(recipes, curate=with_line(recipes.curate, "source.limit = 3")), r"data .*limit: .* 3 now"),
    ):
        with pytest.raises(ConfigError, match=said_so):
            run_arms(other, folder, arms[:1], said.append)
    folder.rename(tmp_path / "moved")
    assert set(run_arms(recipes, tmp_path / "moved", arms[:1], said.append)) == {
        "stage-1", "frozen-1", "frozen-2", "frozen-3",
    }  # fmt: skip


def with_line(recipe: Path | None, line: str) -> Path:
    assert recipe is not None
    changed = recipe.with_stem(f"{recipe.stem}-changed")
    changed.write_text(f"{line}\n{recipe.read_text()}")
    return changed


def test_a_failing_training_does_not_stop_those_beside_it() -> None:
    said: list[str] = []
    jobs = {"ppo-1": fails, "ppo-2": partial(works, "b"), "ppo-3": partial(works, "c")}
    with pytest.raises(TrainingError, match=r"^ppo-1: the loss is nan$"):
        run_jobs(jobs, 2, said.append)
    assert {"ppo-2: b begins", "ppo-3: c begins"} <= set(said)
    assert said[-1].endswith("3 of 3")


def test_trainings_come_back_in_the_order_they_were_asked_for() -> None:
    jobs = {name: partial(works, name) for name in ("c", "a", "b")}
    assert list(run_jobs(jobs, 3, lambda _: None).items()) == [(n, Path(n)) for n in ("c", "a", "b")]


def test_a_process_that_dies_is_said() -> None:
    with pytest.raises(TrainingError, match=r"process died.*the same command goes on"):
        run_jobs({"ppo-1": dies}, 2, lambda _: None)


def test_every_arm_has_its_seeds_and_the_first_of_all_comes_first() -> None:
    runs = [name for name, *_ in runs_of(ARMS)]
    assert len(runs) == len(set(runs)) == sum(arm.seeds for arm in ARMS)
    assert runs.index("ppo-2") > runs.index("hack-1")
    assert {arm.name for arm in ARMS if arm.seeds == 3} == {"ppo", "frozen", "placebo", "grpo", "grpo-frozen"}


def test_an_arm_there_is_not_is_named() -> None:
    with pytest.raises(ConfigError, match="placbo"):
        choose_arms(("placbo",))
