"""The training loop: a step sees what its number says, and a resumed run equals an unbroken one."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from dfprompt.errors import LoadError, TrainingError
from worlds.mini.denoiser import focus
from worlds.mini.loop import (
    StageConfig,
    StepRandom,
    Trainer,
    learning_rate,
    step_random,
    vanishing_values_are_zero,
)

_CONFIG = StageConfig(steps=12, batch=4, lr=0.05, warmup=3, ema=0.9, checkpoint_every=4, weight_decay=0.01)


def _module(*, wide: bool = False) -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(20, 20) if wide else nn.Linear(3, 2)


def _loss(module: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
    x = torch.randn((4, module.in_features), generator=random.torch)
    return (module(x) - random.numpy.random()).pow(2).mean(), {"seen": float(x[0, 0])}


class _KilledError(Exception):
    pass


def _killed_at(step: int):  # type: ignore[no-untyped-def]
    calls = 0

    def loss(module: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        nonlocal calls
        calls += 1
        if calls > step:
            raise _KilledError
        return _loss(module, random)

    return loss


@pytest.mark.parametrize("killed", [1, 4, 7, 11])
@pytest.mark.parametrize("muon", [False, True])
def test_a_killed_run_resumes_to_the_same_bits(tmp_path: Path, killed: int, muon: bool) -> None:
    def trainer(name: str) -> Trainer:
        config = dataclasses.replace(_CONFIG, muon=muon)
        return Trainer("s", _module(wide=muon), config, tmp_path / name, seed=3)

    whole = trainer("whole").run(_loss)
    with pytest.raises(_KilledError):
        trainer("cut").run(_killed_at(killed))
    resumed = trainer("cut")
    done = resumed.run(_loss)
    assert torch.equal(whole.weight, done.weight)
    assert torch.equal(whole.bias, done.bias)
    rows = [json.loads(line) for line in (tmp_path / "cut" / "s.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})


def test_another_seed_or_stage_sees_other_data() -> None:
    first = step_random(1, "vae", 5).numpy.random()
    assert first == step_random(1, "vae", 5).numpy.random()
    others = [step_random(2, "vae", 5), step_random(1, "unet", 5), step_random(1, "vae", 6)]
    assert all(random.numpy.random() != first for random in others)


def test_the_shipped_weights_are_the_average_by_hand(tmp_path: Path) -> None:
    """Two steps of plain numbers: the average ramps with (1 + n) / (10 + n) until it meets the decay."""
    config = StageConfig(steps=2, batch=1, lr=0.1, warmup=0, ema=0.999)
    module = _module()
    start = module.weight.detach().clone()
    seen: list[Tensor] = []

    def loss(inner: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        seen.append(inner.weight.detach().clone())
        return _loss(inner, random)

    trainer = Trainer("s", module, config, tmp_path, seed=1)
    final: list[Tensor] = []
    save = trainer.save

    def keep() -> None:
        final.append(trainer.module.weight.detach().clone())
        save()

    trainer.save = keep  # type: ignore[method-assign]
    averaged = trainer.run(loss).weight
    by_hand = start + (1 - 1 / 10) * (seen[1] - start)
    by_hand = by_hand + (1 - 2 / 11) * (final[0] - by_hand)
    assert torch.allclose(averaged, by_hand, atol=1e-6)


def test_the_learning_rate_warms_up_and_falls() -> None:
    rates = [learning_rate(_CONFIG, step) for step in range(13)]
    assert rates[0] == pytest.approx(0.05 / 3)
    assert rates[3] == pytest.approx(0.05)
    assert rates[12] == pytest.approx(0.0005)
    assert all(a >= b for a, b in itertools.pairwise(rates[3:]))


def test_a_loss_that_is_not_a_number_stops_with_the_last_checkpoint_intact(tmp_path: Path) -> None:
    def loss(module: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        value, logged = _loss(module, random)
        return (value * float("nan") if trainer.step == 6 else value), logged

    trainer = Trainer("s", _module(), _CONFIG, tmp_path, seed=1)
    with pytest.raises(
        TrainingError, match=r"loss is nan at step 6; a checkpoint before it is kept.*another --seed"
    ):
        trainer.run(loss)
    assert torch.isfinite(Trainer("s", _module(), _CONFIG, tmp_path, seed=1).run(_loss).weight).all()
    trainer = Trainer("t", _module(), _CONFIG, tmp_path, seed=1)
    trainer.step = 6
    with pytest.raises(TrainingError, match=r"at step 6\. Build in another folder"):
        trainer.run(loss)


def test_a_checkpoint_of_another_optimiser_is_named(tmp_path: Path) -> None:
    Trainer("s", _module(wide=True), _CONFIG, tmp_path, seed=1).run(_loss)
    other = dataclasses.replace(_CONFIG, steps=20, muon=True)
    with pytest.raises(LoadError, match=r"muon.*delete it"):
        Trainer("s", _module(wide=True), other, tmp_path, seed=1).run(_loss)


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    Trainer("s", _module(), _CONFIG, tmp_path, seed=1).run(_loss)
    path = tmp_path / "s.checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(LoadError, match=r"s\.checkpoint\.safetensors.*delete it"):
        Trainer("s", _module(), _CONFIG, tmp_path, seed=1).run(_loss)


def test_the_processor_is_left_as_it_was() -> None:
    """Flushed denormals outside a build would change other people's arithmetic."""
    with vanishing_values_are_zero():
        assert torch.tensor(1e-40) * 0.5 == 0
    assert torch.tensor(1e-40) * 0.5 != 0


def test_training_times_cover_everything_and_prefer_the_middle() -> None:
    times = focus((torch.arange(100_000) + 0.5) / 100_000)
    assert float(times.min()) >= 0.0
    assert float(times.max()) < 1.0
    # A quarter uniform, the rest sigmoid(0.4 + N(0, 1)): P(0.4 < t < 0.85) = P(-0.805 < z < 1.335) = 0.6987.
    share = float(((times > 0.4) & (times < 0.85)).float().mean())
    assert share == pytest.approx(0.25 * 0.45 + 0.75 * 0.6987, abs=2e-3)
    assert float((times < 0.05).float().mean()) > 0.25 * 0.05
