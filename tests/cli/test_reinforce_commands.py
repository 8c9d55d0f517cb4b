"""`dfprompt train ppo` and `train grpo` as users meet them: real pictures, rewards, judges, kills, arms."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from dfprompt.api.reinforcement import read_tasks, run_reinforcement
from dfprompt.config import load_config
from dfprompt.errors import ConfigError, InputError, TrainingError
from dfprompt.policy import SamplingSettings, load_policy_folder
from dfprompt.prompt import Span
from dfprompt.training.metrics import read_rows
from dfprompt.training.rl_settings import GrpoSettings, PpoSettings
from dfprompt.training.run_folder import CURVES_PAGE, CURVES_PICTURE
from tiny_rl import stage_one_folder
from tiny_training import SUBJECTS

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., SimpleNamespace]
JUDGE = """
def reward(images, prompts, records=None):
    assert all(record["short"] == prompt for record, prompt in zip(records, prompts))
    return images[:, 0].mean((1, 2))


def broken(images, prompts, records=None):
    raise RuntimeError("the server is gone")


def nothing(images, prompts, records=None):
    return images.mean((1, 2, 3)) * float("nan")
"""


@pytest.fixture(autouse=True)
def _curves_only_where_they_are_looked_at(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fifth of these runs is matplotlib: one test looks for its pages, the others do without."""
    if "pages" not in request.node.name:
        monkeypatch.setattr("dfprompt.api.reinforcement.plotted", contextlib.nullcontext)


@pytest.fixture
def arguments(tmp_path: Path, tiny_folder: Callable[[str], Path], reward_set: Path) -> list[str]:
    """Settings of a run of two steps on real, tiny models."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [json.dumps({"short": each, "modifiers": [], "kept": True}) for each in SUBJECTS]
    (data / "train.jsonl").write_text("\n".join([*rows, rows[0]]) + "\n")
    (data / "validation.jsonl").write_text("\n".join(rows[:2]) + "\n")
    (tmp_path / "own.py").write_text(JUDGE)
    (tmp_path / "own.toml").write_text(
        f'[models]\nclip="{reward_set}/clip"\naesthetic="{reward_set}/aesthetic"\n'
        f'[composite]\nd=0.0\n[[judges]]\nname="redness"\nfunction="own.py:reward"\n'
    )
    changes = {
        "model.base": stage_one_folder(),
        "data.folder": data,
        "device": "cpu",
        "pictures.pipeline": tiny_folder("sd1"),
        "pictures.num_inference_steps": 2,
        "reward.source": tmp_path / "own.toml",
        "rollout.rows": 4,
        "rollout.max_new_tokens": 8,
        "optimizer.steps": 2,
        "optimizer.learning_rate": 0.001,
        "optimizer.batch_size": 4,
        "validation.interval": 1,
        "validation.rows": 2,
        "validation.samples": 2,
        "checkpoints.interval": 1,
    }
    return [f"{name}={value}" for name, value in changes.items()]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def sets(changes: list[str]) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.mark.parametrize("algorithm", ["ppo", "grpo"])
@pytest.mark.few("ppo")
def test_a_run_leaves_a_policy_metrics_and_pages(
    algorithm: str, cli: Any, arguments: list[str], tmp_path: Path
) -> None:
    more = ["group.size=2"] if algorithm == "grpo" else []
    output = tmp_path / "run"
    done = cli(
        "train", algorithm, *sets([*arguments, *more]), "--output", str(output), "--allow-code", "--json"
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    # Two rollouts of 4 and two validations of 2; the pages are drawn for people and not counted.
    assert answer["pictures"] == 2 * 4 + 2 * 2
    assert answer["evaluations"] > 0
    policy = load_policy_folder(Path(answer["policy"]))
    assert policy.rewrite(["a red cat"], [1], SamplingSettings(max_new_tokens=8))
    rows = read_rows(output / "metrics.jsonl")
    assert {"reward", "scores/clip", "scores/aesthetic", "kl/text", "pictures_per_second"} <= rows[0].keys()
    assert rows[0]["drift"] < 1e-4
    pages = sorted(path.name for path in (output / "pages").iterdir())
    assert pages == ["step-000001.png", "step-000002.png"]
    assert {CURVES_PICTURE, CURVES_PAGE} <= {path.name for path in output.iterdir()}
    with Image.open(output / "pages" / pages[0]) as page:
        assert page.width > 300


@pytest.mark.slow
@pytest.mark.nightly
def test_words_alone_draw_the_default_and_heads_alone_keep_the_words(
    arguments: list[str], tmp_path: Path
) -> None:
    start = weights(stage_one_folder())
    words, _ = run_reinforcement(
        "ppo", None, [*arguments, "train=words"], output=tmp_path / "w", allow_code=True
    )
    after = weights(words.folder / "policy")
    heads = [name for name in start if name.startswith(("range_head", "weight_head"))]
    assert heads
    assert all((start[name] == after[name]).all() for name in heads)
    assert any((start[name] != after[name]).any() for name in start if name not in heads)
    policy = load_policy_folder(words.folder / "policy")
    spans = [
        span
        for row in policy.rewrite(SUBJECTS * 4, range(4 * len(SUBJECTS)), SamplingSettings(max_new_tokens=8))
        for span in row.modifiers
    ]
    assert spans
    assert all(span == Span(span.text) for span in spans), "full range, weight 1"
    assert all(row["default_controls"] in (0, 1) for row in read_rows(words.folder / "metrics.jsonl"))

    alone, _ = run_reinforcement(
        "ppo", None, [*arguments, "train=heads"], output=tmp_path / "h", allow_code=True
    )
    after = weights(alone.folder / "policy")
    assert all((start[name] == after[name]).all() for name in start if name not in heads)
    assert any((start[name] != after[name]).any() for name in heads)


@pytest.mark.slow
def test_the_placebo_draws_the_same_and_earns_otherwise(arguments: list[str], tmp_path: Path) -> None:
    settings = [*arguments, "optimizer.steps=1"]
    rows = {}
    for name, ignored in (("with", "false"), ("placebo", "true")):
        folder = tmp_path / name
        run_reinforcement(
            "ppo",
            None,
            [*settings, f"pictures.ignore_controls={ignored}", "rollout.rows=16"],
            output=folder,
            allow_code=True,
        )
        rows[name] = read_rows(folder / "metrics.jsonl")[0]
    assert rows["with"]["modifiers"] == rows["placebo"]["modifiers"]
    assert rows["with"]["reward"] != rows["placebo"]["reward"]


def test_meaning_is_measured_at_validations_on_plain_pictures_drawn_once(
    arguments: list[str], tmp_path: Path, reward_set: Path
) -> None:
    settings = [*arguments, f"reward.meaning=clip:{reward_set / 'clip'}", "watchdogs.meaning=off"]
    result, drawn = run_reinforcement("ppo", None, settings, output=tmp_path / "run", allow_code=True)
    # 2 rollouts of 4; the 2 rows of validation before the first step and after both; their 2 plain pictures.
    assert drawn["pictures"] == 2 * 4 + 3 * 2 + 2
    rows = read_rows(result.folder / "metrics.jsonl")
    assert all(abs(row["validation_meaning"]) < 2 for row in rows)
    assert not any("scores/meaning" in row for row in rows), "rollouts draw no plain pictures for it"


@pytest.mark.slow
@pytest.mark.nightly
def test_lost_meaning_stops_the_run_with_its_policy(
    arguments: list[str], tmp_path: Path, reward_set: Path
) -> None:
    settings = [*arguments, f"reward.meaning=clip:{reward_set / 'clip'}", "watchdogs.meaning_fall=1e-9"]
    settings += ["optimizer.steps=40", "optimizer.learning_rate=0.01", "surrogate.stop_kl=10"]
    output = tmp_path / "run"
    with pytest.raises(TrainingError, match="lost meaning"):
        run_reinforcement("ppo", None, settings, output=output, allow_code=True)
    rows = read_rows(output / "metrics.jsonl")
    assert len(rows) < 40
    assert rows[-1]["alerts"][0].startswith("lost meaning")
    assert load_policy_folder(output / "policy")
    with pytest.raises(TrainingError) as caught:
        run_reinforcement("ppo", None, [*settings, "seed=1"], output=tmp_path / "b", allow_code=True)
    assert "--resume" in str(caught.value)


def test_judges_are_logged_and_never_rewarded(arguments: list[str], tmp_path: Path, reward_set: Path) -> None:
    settings = [*arguments, f'reward.judges=["clip:{reward_set}/clip"]', "optimizer.steps=1"]
    result, _ = run_reinforcement("ppo", None, settings, output=tmp_path / "run", allow_code=True)
    row = read_rows(result.folder / "metrics.jsonl")[0]
    (judge,) = [name for name in row if name.startswith("scores/judge/")]
    assert row[judge] == pytest.approx(row["scores/clip"], abs=1e-5)
    assert row["reward"] == pytest.approx(row["terms/aesthetic_term"] + row["terms/clip_gate"], abs=1e-4)


def test_a_run_goes_on_to_the_same_numbers(arguments: list[str], tmp_path: Path, reward_set: Path) -> None:
    settings = [*arguments, "optimizer.steps=3", f"reward.meaning=clip:{reward_set / 'clip'}"]
    settings += ["watchdogs.meaning=warn"]  # three steps of chance may lose it, and the numbers matter here
    whole, _ = run_reinforcement("ppo", None, settings, output=tmp_path / "whole", allow_code=True)
    stopped = [*settings]

    class Killed(Exception):
        pass

    def kill(row: Any) -> None:
        if row["step"] == 2:
            raise Killed

    with pytest.raises(Killed):
        run_reinforcement("ppo", None, stopped, output=tmp_path / "cut", allow_code=True, report=kill)
    cut, _ = run_reinforcement("ppo", None, settings, output=tmp_path / "cut", allow_code=True, resume=True)
    first, second = weights(whole.folder / "policy"), weights(cut.folder / "policy")
    assert all((first[name] == second[name]).all() for name in first)


@pytest.mark.parametrize(("function", "said"), [("broken", "the server is gone"), ("nothing", "nan")])
@pytest.mark.few(1)
def test_a_failing_reward_stops_the_run_and_says_how_to_go_on(
    function: str, said: str, arguments: list[str], tmp_path: Path
) -> None:
    (tmp_path / "bad.toml").write_text(
        f'[composite]\na=0.0\nc=0.0\nd=0.0\n[[extra]]\nname="own"\nfunction="own.py:{function}"\n'
    )
    settings = [*arguments, f"reward.source={tmp_path / 'bad.toml'}"]
    with pytest.raises(TrainingError, match=said) as caught:
        run_reinforcement("ppo", None, settings, output=tmp_path / "run", allow_code=True)
    assert "checkpoint" in str(caught.value)


def test_bad_input_is_one_message(cli: Any, arguments: list[str], tmp_path: Path) -> None:
    for changes, said in (
        (["data.folder="], "dfprompt curate"),
        (["reward.source=nowhere"], "nowhere"),
        (["pictures.pipeline=nowhere"], "nowhere"),
        (["train=neither"], "train"),
    ):
        done = cli("train", "ppo", *sets([*arguments, *changes]), "--output", str(tmp_path / "bad"))
        assert done.returncode == 2, (changes, done.stderr)
        assert said in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "bad" / "checkpoints").exists()


def test_code_in_a_reward_recipe_needs_leave(arguments: list[str], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="allow-code"):
        run_reinforcement("ppo", None, arguments, output=tmp_path / "run")


def test_tasks_are_different_short_prompts_with_their_rows(arguments: list[str], tmp_path: Path) -> None:
    train, validation = read_tasks(str(tmp_path / "data"))
    assert [task.prompt for task in train] == list(SUBJECTS)
    assert len(validation) == 2
    assert train[0].record == {"short": SUBJECTS[0], "kept": True}
    with pytest.raises(InputError, match="nowhere"):
        read_tasks(str(tmp_path / "nowhere"))


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*po*.toml")), ids=lambda path: path.name)
def test_the_recipes_of_the_repository_can_be_read(path: Path) -> None:
    settings = load_config(GrpoSettings if "grpo" in path.name else PpoSettings, path)
    assert settings.policy.name in path.stem
    if path.name.startswith("mini"):
        rows, validation = settings.rollout.rows, settings.validation
        validations = -(-settings.optimizer.steps // validation.interval)
        assert rows * settings.optimizer.steps + validation.rows * validations <= 6_000


def test_the_papers_recipe_states_the_papers_numbers() -> None:
    settings = load_config(PpoSettings, ROOT / "recipes" / "sd14-gpt2-ppo.toml")
    assert (settings.pictures.num_inference_steps, settings.pictures.guidance_scale) == (10, 7.5)
    assert (settings.surrogate.clip, settings.value.clip, settings.optimizer.learning_rate) == (
        0.2,
        0.4,
        5e-5,
    )
    assert (settings.kl.text, settings.kl.range, settings.kl.weight) == (0.02, 0.02, 0.02)
    assert settings.optimizer.steps == 3000
