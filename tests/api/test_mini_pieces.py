"""The packaged mini world where files of it are damaged or missing, and with words from outside it."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from dfprompt.api import pipelines, policies
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.api.world import mini_folder
from dfprompt.errors import DFPromptWarning, LoadError

MOST_BYTES = 40 * 2**20


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def remove(path: Path) -> None:
    path.unlink()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the packaged world that the names lead to."""
    copy = tmp_path / "weights"
    shutil.copytree(mini_folder(), copy, ignore=shutil.ignore_patterns("clip", "preference", "lm"))
    for module in (pipelines, policies):
        monkeypatch.setattr(module, "mini_folder", lambda piece="": copy / piece)
    return copy


@pytest.mark.parametrize("harm", [damage, remove])
@pytest.mark.parametrize(
    ("victim", "load", "name"),
    [
        ("pipeline/unet/diffusion_pytorch_model.safetensors", load_pipeline, "mini"),
        ("pipeline/vae/config.json", load_pipeline, "mini"),
        ("policy/model.safetensors", load_policy, "mini"),
        ("sft/model.safetensors", load_policy, "mini-sft"),
    ],
)
@pytest.mark.few(3)
def test_a_piece_that_cannot_be_read_is_named_with_what_brings_it_back(
    harm: Callable[[Path], None], victim: str, load: Callable[[str], object], name: str, elsewhere: Path
) -> None:
    load(name)
    harm(elsewhere / victim)
    with pytest.raises(LoadError, match=r"python -m worlds\.mini build --install") as caught:
        load(name)
    assert str((elsewhere / victim).parent) in str(caught.value)


def test_another_folder_is_not_said_to_be_mini(elsewhere: Path) -> None:
    damage(elsewhere / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(LoadError, match="cut off") as caught:
        load_pipeline(elsewhere / "pipeline")
    assert "mini build" not in str(caught.value)


def test_a_word_from_outside_the_world_warns_by_name_and_is_drawn() -> None:
    pipeline = load_pipeline("mini")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        images = pipeline.generate("an astronaut in the snow", seeds=[1])
    (said,) = [each for each in caught if issubclass(each.category, DFPromptWarning)]
    assert '"astronaut"' in str(said.message)
    assert images.shape == (1, 3, 64, 64)
    assert images.std() > 0.02
    assert torch.isfinite(images).all()


def test_the_world_is_as_small_as_it_says() -> None:
    assert sum(path.stat().st_size for path in mini_folder().rglob("*") if path.is_file()) <= MOST_BYTES
