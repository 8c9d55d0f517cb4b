"""`dfprompt train` as users meet it: recipe in, policy out, bad input one clear error, kills survived."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dfprompt.api.training import open_trainable, run_sft
from dfprompt.cli.main import main
from dfprompt.config import load_config
from dfprompt.errors import ConfigError
from dfprompt.policy import Policy, SamplingSettings, TokenBudget, load_policy_folder, save_policy_folder
from dfprompt.training.metrics import read_rows
from dfprompt.training.sft_settings import SftSettings
from tiny_policies import tiny_tokenizer, tiny_trunk
from tiny_training import fresh_policy, tiny_examples, weights

ROOT = Path(__file__).resolve().parents[2]
Run = Callable[..., SimpleNamespace]
RECIPE = """
seed = 5
device = "cpu"
[model]
base = "{base}"
dropout = 0.1
[data]
folder = "{data}"
max_new_tokens = 24
[optimizer]
steps = 6
batch_size = 8
micro_batch_size = 4
learning_rate = 3e-3
[validation]
interval = 3
samples = 2
[checkpoints]
interval = 2
[logging]
interval = 1
[policy]
name = "from-recipe"
prompt_tokens = 40
"""


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`inside("train", "sft", ...)`: the entry point in this process, where torch is loaded."""

    def run(*arguments: str) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["dfprompt", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
        with pytest.raises(SystemExit) as left:
            main()
        shown = capsys.readouterr()
        return SimpleNamespace(returncode=left.value.code or 0, stdout=shown.out, stderr=shown.err)

    return run


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe on a plain language model and a data folder, both real and tiny."""
    place = tmp_path_factory.mktemp("sft")
    tiny_trunk().save_pretrained(place / "lm")
    tiny_tokenizer().save_pretrained(place / "lm")
    (place / "data").mkdir()
    lines = [
        json.dumps({"short": each.short, "modifiers": each.modifiers, "kept": each.kept})
        for each in tiny_examples()
    ]
    (place / "data" / "train.jsonl").write_text("\n".join(lines) + "\n")
    (place / "data" / "validation.jsonl").write_text("\n".join(lines[:12]) + "\n")
    file = place / "tiny.toml"
    file.write_text(RECIPE.format(base=place / "lm", data=place / "data"))
    return file


def test_a_recipe_becomes_a_policy(inside: Run, recipe: Path, tmp_path: Path) -> None:
    ran = inside("train", "sft", "--recipe", str(recipe), "--output", str(tmp_path / "run"), "--json")
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout)
    assert set(answer) == {"dfprompt", "policy", "steps", "best_step", "validation_loss"}
    assert (answer["steps"], answer["best_step"]) == (6, 6)
    assert "6/6" in ran.stderr
    assert "validation" in ran.stderr
    assert "step 3\n  a red cat" in ran.stderr, "sample rewrites are shown as they come"
    policy = load_policy_folder(Path(answer["policy"]))
    assert (policy.name, policy.budget.limit, policy.model.config.control) == ("from-recipe", 40, "phrase")
    row = policy.rewrite(["a red cat"], [1], SamplingSettings(max_new_tokens=16))[0]
    assert str(row.prompt).startswith("a red cat")


def test_set_changes_the_recipe_and_is_saved_with_the_run(inside: Run, recipe: Path, tmp_path: Path) -> None:
    arguments = (
        "--set",
        "optimizer.steps=2",
        "--set",
        "model.control=token",
        "--output",
        str(tmp_path / "r"),
    )
    ran = inside("train", "sft", "--recipe", str(recipe), *arguments)
    assert ran.stdout == f"{tmp_path / 'r' / 'policy'}\n"
    saved = load_config(SftSettings, tmp_path / "r" / "recipe.toml")
    assert (saved.optimizer.steps, saved.model.control) == (2, "token")
    assert load_policy_folder(tmp_path / "r" / "policy").model.config.control == "token"


def test_resume_needs_no_recipe_and_changes_nothing_that_is_done(
    inside: Run, recipe: Path, tmp_path: Path
) -> None:
    folder = str(tmp_path / "run")
    inside("train", "sft", "--recipe", str(recipe), "--output", folder)
    before = weights(tmp_path / "run" / "policy")
    again = inside("train", "sft", "--recipe", str(recipe), "--output", folder)
    assert again.returncode == 2
    assert "--resume" in again.stderr
    resumed = inside("train", "sft", "--resume", "--output", folder)
    assert resumed.returncode == 0
    assert "nothing was left to do: all" in resumed.stderr
    assert weights(tmp_path / "run" / "policy") == before
    other = inside("train", "sft", "--resume", "--output", folder, "--set", "seed=6")
    assert other.returncode == 2
    assert "seed: 5 before, 6 now" in other.stderr
    assert inside("train", "sft", "--recipe", str(recipe), "--output", folder, "--force").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "optimizer.step=3"], "steps"),
        (["--set", "optimizer.steps=-1", "--set", "sede=3"], "2 problems"),
        (["--set", "data.folder="], "dfprompt curate"),
        (["--set", "data.folder=nowhere"], "nowhere"),
        (["--set", "model.base=nowhere"], "nowhere"),
        (["--set", "policy.tokenizer=nowhere"], "nowhere"),
        (["--set", "data.full_stop_share=0.5"], "separators"),
        (["--resume"], "--output"),
    ],
)
def test_bad_input_is_one_clear_error(
    arguments: list[str],
    said: str,
    inside: Run,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = inside("train", "sft", "--recipe", str(recipe), *arguments)
    assert ran.returncode == 2
    assert ran.stdout == ""
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_without_output_the_folder_is_named_by_date_and_recipe(
    inside: Run, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = inside("train", "sft", "--recipe", str(recipe), "--set", "optimizer.steps=1")
    (folder,) = (tmp_path / "dfprompt-out").iterdir()
    assert folder.name.endswith("-tiny")
    assert Path(ran.stdout.strip()).resolve() == folder / "policy"


def test_several_processes_must_name_their_folder(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    with pytest.raises(ConfigError, match="--output"):
        run_sft(recipe)


def test_a_policy_as_base_keeps_its_heads_and_its_counting(tmp_path: Path) -> None:
    base = fresh_policy()
    other = tiny_tokenizer().__class__(tokenizer_object=tiny_tokenizer().backend_tokenizer)
    base = Policy(base.model, base.tokenizer, budget=TokenBudget(30, (other,)), name="base")
    save_policy_folder(base, tmp_path / "base")
    settings = SftSettings.model_validate({"policy": {"prompt_tokens": 20}})
    opened = open_trainable(tmp_path / "base", settings.model, settings.policy, seed=0)
    assert (opened.model.range_head.weight == base.model.range_head.weight).all()
    assert opened.budget.limit == 20
    assert opened.budget.tokenizers[0] is not opened.tokenizer
    changed = settings.model.model_copy(update={"control": "token"})
    with pytest.raises(ConfigError, match="control"):
        open_trainable(tmp_path / "base", changed, settings.policy, seed=0)


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*-sft.toml")), ids=lambda path: path.name)
def test_the_recipes_of_the_repository_can_be_read(path: Path) -> None:
    settings = load_config(SftSettings, path)
    assert settings.policy.name == path.stem
    assert 0.99 < sum(settings.model.range_start) < 1.01
    assert 0.99 < sum(settings.model.weight_start) < 1.01


def test_the_papers_recipe_states_the_papers_numbers() -> None:
    settings = load_config(SftSettings, ROOT / "recipes" / "sd15-gpt2-sft.toml")
    optimizer = settings.optimizer
    assert (optimizer.batch_size, optimizer.learning_rate, optimizer.steps) == (64, 5e-5, 50_000)
    assert (settings.data.capitalized_share, settings.data.full_stop_share) == (0.5, 0.5)
    assert settings.model.weight_start[0] == 0.001
    assert len(settings.model.ranges) == 3


@pytest.mark.nightly
def test_a_killed_command_goes_on_to_the_same_policy(recipe: Path, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start = [sys.executable, "-m", "dfprompt.cli.main", "train", "sft"]
    changes = ["--set", "optimizer.steps=60"]
    subprocess.run(
        [*start, "--recipe", str(recipe), *changes, "--output", str(whole)], check=True, capture_output=True
    )
    command = [*start, "--recipe", str(recipe), *changes, "--output", str(parts)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while len(read_rows(parts / "metrics.jsonl")) < 7 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
    assert not (parts / "policy").exists(), "it was killed before its end"
    subprocess.run([*start, "--resume", "--output", str(parts)], check=True, capture_output=True)
    assert weights(parts / "policy") == weights(whole / "policy")
