"""Stage 1 as a whole: it learns, accumulates exactly, clips, resumes to the same bits, survives kills."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from dfprompt.errors import ConfigError, TrainingError
from dfprompt.policy import SamplingSettings, load_policy_folder
from dfprompt.training.devices import make_accelerator
from dfprompt.training.examples import Example
from dfprompt.training.metrics import read_rows
from dfprompt.training.model_setup import set_dropout, set_up_model
from dfprompt.training.optimization import make_optimizer
from dfprompt.training.settings import ModelSettings
from dfprompt.training.sft import SftResult, freeze_heads, make_lessons, sft_step, train_sft
from dfprompt.training.sft_settings import SftSettings
from tiny_training import MODIFIERS, fresh_policy, gradient_norm, tiny_examples, tiny_settings, weights

EXAMPLES = tiny_examples()


def run(folder: Path, settings: SftSettings | None = None, **options: Any) -> SftResult:
    return train_sft(fresh_policy(), EXAMPLES, EXAMPLES[:12], settings or tiny_settings(), folder, **options)


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The rows without their speed."""
    return [
        {k: v for k, v in row.items() if k != "rows_per_second"}
        for row in read_rows(folder / "metrics.jsonl")
    ]


@pytest.mark.slow
def test_it_learns_what_people_append(tmp_path: Path) -> None:
    result = run(tmp_path / "run", tiny_settings(steps=250))
    assert result.validation_loss < 0.6
    policy = load_policy_folder(tmp_path / "run" / "policy")
    how = SamplingSettings(max_new_tokens=24, temperature=0.5)
    rows = policy.rewrite(["a red cat", "the blue star"] * 8, list(range(16)), how)
    said = [span.text for row in rows for span in row.modifiers]
    assert len(said) > 8
    assert sum(text in MODIFIERS for text in said) / len(said) > 0.8


def test_rejected_rows_teach_to_leave_the_prompt_alone(tmp_path: Path) -> None:
    examples = [Example("a red cat", ("8k",)), *[Example("the blue star", ("bokeh",), kept=False)] * 4]
    settings = tiny_settings(steps=60, batch_size=4)
    settings = SftSettings.model_validate(
        settings.model_dump() | {"data": {"max_new_tokens": 24, "rejected_share": 0.5}}
    )
    policy = fresh_policy()
    train_sft(policy, examples, examples[:1], settings, tmp_path / "run")
    how = SamplingSettings(max_new_tokens=24, temperature=0)
    cat, star = policy.rewrite(["a red cat", "the blue star"], [1, 2], how)
    assert [span.text for span in cat.modifiers] == ["8k"]
    assert str(star.prompt) == "the blue star"
    assert star.end == "end"


def test_without_a_row_to_validate_on_no_weights_are_called_the_best(tmp_path: Path) -> None:
    """The mean over no row would be 0, the first validation's, and nothing would ever be below it."""
    rejected = [Example("a red cat", ("8k",), kept=False)]
    with pytest.raises(ConfigError, match=r"validation set.*export=last"):
        train_sft(fresh_policy(), EXAMPLES, rejected, tiny_settings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    settings = SftSettings.model_validate(tiny_settings().model_dump() | {"export": "last"})
    result = train_sft(fresh_policy(), EXAMPLES, rejected, settings, tmp_path / "run")
    assert result.validation_loss == math.inf
    assert all("validation_loss" not in row for row in metrics(tmp_path / "run"))
    assert (tmp_path / "run" / "policy").is_dir()


def test_the_heads_keep_their_start(tmp_path: Path) -> None:
    policy, before = fresh_policy(), fresh_policy()
    settings = tiny_settings(steps=4, weight_decay=0.5)
    train_sft(policy, EXAMPLES, EXAMPLES[:4], settings, tmp_path / "run")
    for name in ("range_head", "weight_head"):
        for kind in ("weight", "bias"):
            left, right = (getattr(getattr(p.model, name), kind) for p in (policy, before))
            assert not left.requires_grad, "several processes wait for gradients that never come"
            assert torch.equal(left, right)
    assert not torch.equal(
        policy.model.get_input_embeddings().weight, before.model.get_input_embeddings().weight
    )


def step_once(micro: int, *, max_grad_norm: float = 1e9, steps: int = 1) -> tuple[Any, float, float]:
    """One optimiser step without dropout; the model, the loss and the norm before clipping."""
    policy, settings = fresh_policy(), tiny_settings(micro_batch_size=micro, max_grad_norm=max_grad_norm)
    set_dropout(policy.model, 0.0)
    freeze_heads(policy)
    accelerator = make_accelerator(device="cpu")
    optimizer = make_optimizer(policy.model, settings.optimizer)
    model, prepared = accelerator.prepare(policy.model, optimizer)
    lessons = make_lessons(policy, EXAMPLES, settings)
    for step in range(steps):
        loss, norm = sft_step(accelerator, model, policy.vocabulary, prepared, lessons.rows(step), settings)
    return policy.model, loss, norm


def test_the_scheduled_learning_rate_is_the_one_used(tmp_path: Path) -> None:
    """Adam's first step moves each parameter by about the learning rate, whatever the gradient."""
    moved = {}
    for warmup in (0, 1000):
        policy = fresh_policy()
        before = policy.model.get_input_embeddings().weight.detach().clone()
        settings = tiny_settings(steps=1000, warmup_steps=warmup, learning_rate=1e-2)
        with pytest.raises(Stop):
            train_sft(policy, EXAMPLES, EXAMPLES[:4], settings, tmp_path / str(warmup), report=stop)
        after = policy.model.get_input_embeddings().weight.detach()
        moved[warmup] = float((after - before).abs().max())
    assert moved[0] == pytest.approx(1e-2, rel=0.05)
    assert moved[1000] == pytest.approx(1e-5, rel=0.05)


def stop(row: Mapping[str, Any]) -> None:
    raise Stop


@pytest.mark.parametrize("micro", [1, 3, 4])
def test_accumulation_gives_the_step_of_the_whole_batch(micro: int) -> None:
    whole, loss, norm = step_once(8)
    parts, part_loss, part_norm = step_once(micro)
    assert part_loss == pytest.approx(loss, rel=1e-6)
    assert part_norm == pytest.approx(norm, rel=1e-5)
    for (name, left), right in zip(whole.named_parameters(), parts.parameters(), strict=True):
        if left.grad is not None:
            torch.testing.assert_close(left.grad, right.grad, atol=1e-6, rtol=1e-4, msg=name)


def test_accumulated_training_stays_on_the_same_path() -> None:
    whole, loss, _ = step_once(8, steps=4)
    parts, part_loss, _ = step_once(1, steps=4)
    assert part_loss == pytest.approx(loss, rel=1e-4)
    for left, right in zip(whole.parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(left, right, atol=1e-3, rtol=0)  # Adam turns rounding into small steps


def test_clipping_acts_after_the_backward_pass() -> None:
    """Trap 6 of the published code: clipping before the backward pass, which does nothing."""
    _, _, free = step_once(8)
    assert free > 0.5
    model, _, norm = step_once(8, max_grad_norm=0.1)
    assert norm == pytest.approx(free, rel=1e-6), "the norm reported is the one before clipping"
    assert gradient_norm(model.parameters()) == pytest.approx(0.1, rel=1e-3)


class Stop(Exception):
    """The test pulls the plug."""


@pytest.mark.parametrize(
    "at", [1, 3, 8, 12, *(pytest.param(each, marks=pytest.mark.nightly) for each in (2, 5, 11))]
)
@pytest.mark.few(2)
def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(at: int, tmp_path: Path, whole: Path) -> None:
    def pull_the_plug(row: Mapping[str, Any]) -> None:
        if row["step"] == at:
            raise Stop

    with pytest.raises(Stop):
        run(tmp_path / "run", report=pull_the_plug)
    run(tmp_path / "run", resume=True)
    assert weights(tmp_path / "run" / "policy") == weights(whole / "policy")
    assert weights(tmp_path / "run" / "best") == weights(whole / "best")
    assert metrics(tmp_path / "run") == metrics(whole)
    assert read_rows(tmp_path / "run" / "samples.jsonl") == read_rows(whole / "samples.jsonl")


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("sft") / "whole"
    run(folder)
    return folder


def test_a_run_leaves_what_it_promises(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == {
        "recipe.toml", "metrics.jsonl", "samples.jsonl", "checkpoints", "best", "policy",
    }  # fmt: skip
    rows = metrics(whole)
    assert [row["step"] for row in rows] == list(range(1, 13))
    assert [row["step"] for row in rows if "validation_loss" in row] == [4, 8, 12]
    assert all(set(row) >= {"loss", "grad_norm", "learning_rate"} for row in rows)
    assert [path.name for path in sorted((whole / "checkpoints").iterdir())] == [
        "step-00000009",
        "step-00000012",
    ]
    assert [row["step"] for row in read_rows(whole / "samples.jsonl")] == [4, 4, 8, 8, 12, 12]


def test_the_best_weights_are_those_of_the_lowest_validation(tmp_path: Path) -> None:
    result = run(tmp_path / "run", tiny_settings(schedule="constant", learning_rate=0.05))
    losses = {
        row["step"]: row["validation_loss"] for row in metrics(tmp_path / "run") if "validation_loss" in row
    }
    assert result.best_step == min(losses, key=lambda step: losses[step])
    assert result.validation_loss == min(losses.values())
    assert weights(tmp_path / "run" / "policy") == weights(tmp_path / "run" / "best")
    last = SftSettings.model_validate(tiny_settings().model_dump() | {"export": "last"})
    policy = fresh_policy()
    train_sft(policy, EXAMPLES, EXAMPLES[:12], last, tmp_path / "last")
    exported = load_policy_folder(tmp_path / "last" / "policy").model
    for left, right in zip(policy.model.parameters(), exported.parameters(), strict=True):
        assert torch.equal(left, right)


def test_a_finished_run_resumed_changes_nothing(tmp_path: Path) -> None:
    first = run(tmp_path / "run")
    before = weights(tmp_path / "run" / "policy")
    assert run(tmp_path / "run", resume=True) == first
    assert weights(tmp_path / "run" / "policy") == before


def test_a_folder_in_use_is_not_overwritten(whole: Path) -> None:
    with pytest.raises(ConfigError, match="--resume"):
        run(whole)


def test_a_loss_that_is_not_finite_stops_the_run_with_its_checkpoint_intact(tmp_path: Path) -> None:
    policy = fresh_policy()

    def poison(row: Mapping[str, Any]) -> None:
        if row["step"] == 4:
            with torch.no_grad():
                policy.model.get_input_embeddings().weight.fill_(float("nan"))

    with pytest.raises(TrainingError, match=r"step 5 is nan; the checkpoint of step 3 is safe"):
        train_sft(policy, EXAMPLES, EXAMPLES[:4], tiny_settings(), tmp_path / "run", report=poison)
    assert run_after(tmp_path / "run").steps == 12


def run_after(folder: Path) -> SftResult:
    return train_sft(fresh_policy(), EXAMPLES, EXAMPLES[:4], tiny_settings(), folder, resume=True)


def test_lora_trains_and_resumes_to_the_same_bits(tmp_path: Path) -> None:
    from dfprompt.policy import Policy, save_policy_folder

    base = tmp_path / "base"
    save_policy_folder(fresh_policy(), base)

    def go(folder: Path, **options: Any) -> None:
        policy = load_policy_folder(base)
        settings = ModelSettings.model_validate({"lora": {"rank": 2}})
        model = set_up_model(policy.model, settings, seed=5, base=base)
        policy = Policy(model, policy.tokenizer, budget=policy.budget, name="lora")
        train_sft(policy, EXAMPLES, EXAMPLES[:4], tiny_settings(), folder, **options)

    def pull_the_plug(row: Mapping[str, Any]) -> None:
        if row["step"] == 7:
            raise Stop

    go(tmp_path / "whole")
    with pytest.raises(Stop):
        go(tmp_path / "parts", report=pull_the_plug)
    go(tmp_path / "parts", resume=True)
    names = [tmp_path / part / "policy" / "adapter_model.safetensors" for part in ("whole", "parts")]
    assert names[0].read_bytes() == names[1].read_bytes()
    assert not (tmp_path / "whole" / "policy" / "model.safetensors").exists()
    loaded = load_policy_folder(tmp_path / "whole" / "policy")
    assert loaded.rewrite(["a red cat"], [1])[0].plain == "a red cat"


def test_full_stops_need_their_separator() -> None:
    settings = SftSettings.model_validate({"data": {"full_stop_share": 0.5}})
    with pytest.raises(ConfigError, match="full_stop_share"):
        make_lessons(fresh_policy(), EXAMPLES, settings)


def test_gradient_checkpointing_changes_no_number(tmp_path: Path) -> None:
    policy = fresh_policy()
    settings = tiny_settings(gradient_checkpointing=True)
    plain = run(tmp_path / "plain")
    saving = train_sft(policy, EXAMPLES, EXAMPLES[:12], settings, tmp_path / "saving")
    assert saving.validation_loss == pytest.approx(plain.validation_loss, rel=1e-4)


SCRIPT = """
import sys
from pathlib import Path
from dfprompt.training.run_folder import lock_run
from dfprompt.training.sft import train_sft
from tiny_training import fresh_policy, tiny_examples, tiny_settings

def say(row):
    print(row["step"], flush=True)

rows, settings, folder = tiny_examples(), tiny_settings(steps=40), Path(sys.argv[1])
with lock_run(folder):  # clears what a killed process left unfinished
    train_sft(fresh_policy(), rows, rows[:12], settings, folder, resume=True, report=say)
"""


@pytest.mark.nightly
def test_kill_9_at_random_moments_then_resume_is_an_uninterrupted_run(tmp_path: Path) -> None:
    run(tmp_path / "whole", tiny_settings(steps=40))
    chance = random.Random(4)
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    kills = 0
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True) as process:
            assert process.stdout is not None
            wait = chance.randint(2, 12)
            for count, _line in enumerate(process.stdout, 1):
                if count == wait:
                    # Somewhere inside the next steps: passes, validations, half-written files.
                    time.sleep(chance.uniform(0, 0.05))
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    break
    assert kills == 3
    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert weights(tmp_path / "killed" / "policy") == weights(tmp_path / "whole" / "policy")
    assert metrics(tmp_path / "killed") == metrics(tmp_path / "whole")
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*"))


TWO = """
import sys
from pathlib import Path
from dfprompt.training.sft import train_sft
from dfprompt.training.model_setup import set_dropout
from tiny_training import fresh_policy, tiny_examples, tiny_settings

policy = fresh_policy()
set_dropout(policy.model, 0.0)
rows = tiny_examples()
train_sft(policy, rows, rows[:12], tiny_settings(steps=4), Path(sys.argv[1]))
"""


@pytest.mark.nightly
def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "ACCELERATE_USE_CPU": "true"}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    subprocess.run(
        [*launch, str(script), str(tmp_path / "two")], env=environment, check=True, capture_output=True
    )
    subprocess.run([sys.executable, str(script), str(tmp_path / "one")], env=environment, check=True)
    for one, two in zip(metrics(tmp_path / "one"), metrics(tmp_path / "two"), strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
        assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-3)
    assert json.loads((tmp_path / "two" / "policy" / "config.json").read_text())["control"] == "phrase"
