"""Checkpoints: whole or not there, the latest few, restored to the last bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from dfprompt.errors import LoadError, TrainingError
from dfprompt.training import checkpoint
from dfprompt.training.checkpoint import Checkpoints, Trained


def trained(seed: int = 0, width: int = 3) -> Trained:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, width), nn.Linear(width, 1))
    model[1].bias.requires_grad_(False)
    return Trained(model, torch.optim.AdamW(model.parameters(), lr=0.1))


def work(part: Trained, steps: int = 1) -> None:
    for _ in range(steps):
        part.optimizer.zero_grad()
        part.model(torch.ones(4, 2)).pow(2).sum().backward()
        part.optimizer.step()


def test_what_is_restored_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    part, value = trained(), trained(1)
    work(part, 3)
    work(value, 1)
    Checkpoints(tmp_path).save(3, {"policy": part, "value": value}, {"best": {"loss": 0.5}})
    again, other = trained(7), trained(8)
    again.model[1].bias.data.copy_(part.model[1].bias)  # frozen: not part of a checkpoint
    other.model[1].bias.data.copy_(value.model[1].bias)
    step, state = Checkpoints(tmp_path).load({"policy": again, "value": other})
    assert (step, state) == (3, {"best": {"loss": 0.5}})
    for before, after in ((part, again), (value, other)):
        work(before, 2)
        work(after, 2)
        for left, right in zip(before.model.parameters(), after.model.parameters(), strict=True):
            assert torch.equal(left, right)


def test_only_the_latest_stay_and_only_whole_ones_count(tmp_path: Path) -> None:
    saved = Checkpoints(tmp_path, keep=2)
    part = trained()
    work(part)
    for step in (1, 2, 10):
        saved.save(step, {"policy": part}, {})
    (tmp_path / ".step-00000011.partial").mkdir()
    (tmp_path / "step-x").mkdir()
    assert saved.steps() == [2, 10]
    assert saved.load({"policy": trained()})[0] == 10
    assert saved.load({"policy": trained()}, step=2)[0] == 2
    assert {path.name for path in (tmp_path / "step-00000010").iterdir()} == {
        "model.safetensors", "optimizer.safetensors", "state.json",
    }  # fmt: skip
    assert len({path.stat().st_mode for path in (tmp_path / "step-00000010").iterdir()}) == 1


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, part = Checkpoints(tmp_path), trained()
    work(part)
    saved.save(5, {"policy": part}, {})

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(TrainingError, match=r"No space left.*checkpoint of step 5 is safe"):
        saved.save(6, {"policy": part}, {})
    monkeypatch.undo()
    assert saved.load({"policy": trained()})[0] == 5
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_damage_and_other_models_are_named(tmp_path: Path) -> None:
    saved, part = Checkpoints(tmp_path), trained()
    work(part)
    folder = saved.save(5, {"policy": part}, {})
    with pytest.raises(LoadError, match="another model"):
        saved.load({"policy": trained(width=4)})
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:40])
    with pytest.raises(LoadError, match=r"step-00000005.*delete it"):
        saved.load({"policy": trained()})
    with pytest.raises(LoadError, match="no checkpoint of step 7"):
        saved.load({"policy": trained()}, step=7)
    with pytest.raises(LoadError, match="no checkpoint"):
        Checkpoints(tmp_path / "nothing").load({"policy": trained()})


def test_an_optimizer_that_lacks_a_number_of_one_parameter_is_named(tmp_path: Path) -> None:
    part = trained()
    work(part)
    del part.optimizer.state[part.model[0].bias]["step"]
    Checkpoints(tmp_path).save(1, {"policy": part}, {})
    with pytest.raises(LoadError, match="does not hold the same of every parameter"):
        Checkpoints(tmp_path).load({"policy": trained()})
