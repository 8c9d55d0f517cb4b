"""The aesthetic head: the published layout, our folder, and files that are neither."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import pytest
import torch

import tiny_rewards
from dfprompt.errors import ConfigError, LoadError
from dfprompt.rewards import AestheticHead, ScoreLoader, load_aesthetic_head, save_aesthetic_head
from dfprompt.rewards.aesthetic import head_from_state, head_to_state
from tiny_rewards import WIDTH, published_head


def _features(count: int = 5, width: int = WIDTH) -> torch.Tensor:
    features = torch.randn(count, width, generator=torch.Generator().manual_seed(0))
    return features / features.norm(dim=1, keepdim=True)


def test_the_published_file_computes_what_its_module_computes(head_file: Path) -> None:
    head, tower = load_aesthetic_head(head_file)
    assert tower is None
    torch.testing.assert_close(head(_features()), published_head().layers(_features())[:, 0])


def test_the_published_widths() -> None:
    head = AestheticHead()
    assert head.widths == (768, 1024, 128, 64, 16, 1)
    names = [name for name in head_to_state(head) if name.endswith("weight")]
    assert names == [f"layers.{place}.weight" for place in (0, 2, 4, 6, 7)]
    # The published module is a composition of affine maps: no activation may creep in.
    x, y = torch.randn(2, 4, 768).unbind()
    with torch.no_grad():
        torch.testing.assert_close(head(x + y) + head(torch.zeros(4, 768)), head(x) + head(y))


def test_our_folder_round_trips_with_its_tower(tmp_path: Path) -> None:
    head = head_from_state(published_head().state_dict())
    tiny_rewards.save_clip(tmp_path / "clip")
    save_aesthetic_head(head, tmp_path / "aesthetic", "../clip")
    again, tower = load_aesthetic_head(tmp_path / "aesthetic")
    assert torch.equal(again(_features()), head(_features()))
    assert Path(str(tower)) == (tmp_path / "clip").resolve()
    assert again.activation == "none"


@pytest.mark.parametrize(
    ("activation", "function"), [("relu", torch.relu), ("gelu", torch.nn.functional.gelu)]
)
def test_an_activation_acts_between_the_layers_only(
    tmp_path: Path, activation: str, function: object
) -> None:
    head = AestheticHead((WIDTH, 6, 3, 1), activation)
    save_aesthetic_head(head, tmp_path)
    again, _ = load_aesthetic_head(tmp_path)
    first, second, third = again.linears
    expected = third(function(second(function(first(_features())))))[:, 0]
    torch.testing.assert_close(again(_features()), expected)
    assert head_to_state(head).keys() == {
        f"layers.{n}.{kind}" for n in range(3) for kind in ("weight", "bias")
    }


def test_a_head_for_another_tower_is_refused(tmp_path: Path, clip_folder: Path) -> None:
    file = tiny_rewards.save_published_head(tmp_path / "wide.pth", width=768)
    with pytest.raises(ConfigError, match="reads vectors of width 768, but clip gives 24"):
        ScoreLoader(device="cpu").load_score("aesthetic", str(file), tower=str(clip_folder))


class _Payload:
    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.mkdir, (str(self.place),)


def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path) -> None:
    trap = tmp_path / "ran"
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(_Payload(trap), protocol=2))
    with pytest.raises(LoadError, match=r"bad\.pth"):
        load_aesthetic_head(tmp_path / "bad.pth")
    torch.save({"layers.0.weight": _Payload(trap)}, tmp_path / "worse.pth")
    with pytest.raises(LoadError, match=r"worse\.pth"):
        load_aesthetic_head(tmp_path / "worse.pth")
    assert not trap.exists()


@pytest.mark.parametrize("cut", [0, 10, 100, -1])
def test_damaged_files_are_named(tmp_path: Path, head_file: Path, cut: int) -> None:
    (tmp_path / "cut.pth").write_bytes(head_file.read_bytes()[:cut])
    with pytest.raises(LoadError, match=r"cut\.pth"):
        load_aesthetic_head(tmp_path / "cut.pth")
    save_aesthetic_head(AestheticHead((WIDTH, 1)), tmp_path / "ours")
    weights = tmp_path / "ours" / "aesthetic.safetensors"
    weights.write_bytes(weights.read_bytes()[:cut])
    with pytest.raises(LoadError, match=r"aesthetic\.safetensors"):
        load_aesthetic_head(tmp_path / "ours")


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ({}, "a matrix and a bias per layer"),
        ({"layers.0.weight": torch.zeros(1, 3)}, "a matrix and a bias per layer"),
        (
            {"layers.0.weight": torch.zeros(3), "layers.0.bias": torch.zeros(1)},
            "a matrix and a bias per layer",
        ),
        ({"linear.weight": torch.zeros(1, 3)}, "linear.weight"),
        ({"layers.0.weight": torch.zeros(2, 3), "layers.0.bias": torch.zeros(2)}, "ends in one number"),
        (
            {
                "layers.0.weight": torch.zeros(2, 3),
                "layers.0.bias": torch.zeros(2),
                "layers.1.weight": torch.zeros(1, 5),
                "layers.1.bias": torch.zeros(1),
            },
            "do not fit together",
        ),
    ],
)
def test_state_dicts_that_are_no_head_are_refused(state: dict[str, torch.Tensor], said: str) -> None:
    with pytest.raises(LoadError, match=said):
        head_from_state(state)


def test_missing_files_and_odd_configs_are_named(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"nothing\.pth: no such file"):
        load_aesthetic_head(tmp_path / "nothing.pth")
    with pytest.raises(LoadError, match=r"config\.json"):
        load_aesthetic_head(tmp_path)
    save_aesthetic_head(AestheticHead((WIDTH, 1)), tmp_path)
    for odd in ("[]", '{"activation": {}}', '{"tower": []}', '{"activation": 0}'):
        (tmp_path / "config.json").write_text(odd)
        with pytest.raises(LoadError, match=r"config\.json: expected"):
            load_aesthetic_head(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"activation": "tanh"}))
    with pytest.raises(LoadError, match="tanh"):
        load_aesthetic_head(tmp_path)
