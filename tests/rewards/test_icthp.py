"""ICT and HP in their published layouts, against a second implementation that follows their own script."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import CLIPProcessor

from dfprompt.api.rewards import load_reward
from dfprompt.errors import LoadError
from dfprompt.rewards import ScoreLoader
from tiny_rewards import pictures, prompts, save_icthp

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("icthp")
    return folder, save_icthp(folder)


def _seen(model: Any, folder: Path, images: torch.Tensor) -> torch.Tensor:
    processor = CLIPProcessor.from_pretrained(folder)
    rows = []
    for image in images:  # one picture at a time, through PIL, as the authors' script does
        picture = Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy())
        pixels = processor(images=picture, return_tensors="pt")["pixel_values"]
        rows.append(model.get_image_features(pixel_values=pixels).pooler_output[0])
    return torch.stack(rows)


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_ict_is_the_cosine_on_its_own_weights(saved: tuple[Path, Any], size: tuple[int, int]) -> None:
    folder, (ict, _, _) = saved
    images, texts = pictures(5, *size), prompts(5)
    seen = _seen(ict, folder / "ict", images)
    tokenizer = CLIPProcessor.from_pretrained(folder / "ict").tokenizer
    expected = []
    for vector, text in zip(seen, texts, strict=True):
        ids = tokenizer(text).input_ids
        padded = torch.tensor([ids + [0] * (77 - len(ids))])  # open_clip's tokenizer fills with zeros
        read = ict.get_text_features(input_ids=padded).pooler_output[0]
        expected.append((vector / vector.norm()) @ (read / read.norm()))
    found = ScoreLoader(device="cpu").load_score("ict", str(folder / "ict"))(images, texts)
    torch.testing.assert_close(found, torch.stack(expected), rtol=0, atol=TOLERANCE)
    assert found.std() > 0.02


@torch.no_grad()
@pytest.mark.parametrize("size", [(64, 64), (96, 128)])
def test_hp_is_the_sigmoid_of_the_head_on_the_vector_as_it_is(
    saved: tuple[Path, Any], size: tuple[int, int]
) -> None:
    folder, (_, backbone, head) = saved
    images = pictures(5, *size)
    expected = torch.sigmoid(head.layers(_seen(backbone, folder / "hp", images))).squeeze(1)
    score = load_reward(f"hp:{folder / 'hp'}", device="cpu")
    found = score(images, prompts(5))
    torch.testing.assert_close(found, expected, rtol=0, atol=TOLERANCE)
    assert torch.equal(found, score(images, ["other words"] * 5))
    assert found.std() > 0.05


def test_another_vector_than_the_published_one_would_be_noticed(saved: tuple[Path, Any]) -> None:
    """The head reads vectors that are not normalised: normalised ones give other scores."""
    folder, (_, backbone, head) = saved
    images = pictures(5)
    with torch.no_grad():
        seen = _seen(backbone, folder / "hp", images)
        wrong = torch.sigmoid(head.layers(seen / seen.norm(dim=1, keepdim=True))).squeeze(1)
    found = load_reward(f"hp:{folder / 'hp'}", device="cpu")(images, prompts(5))
    assert (found - wrong).abs().max() > 100 * TOLERANCE


def test_what_is_missing_is_named(saved: tuple[Path, Any], tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no pytorch_model\.bin"):
        load_reward(f"ict:{tmp_path}", device="cpu")
    with pytest.raises(LoadError, match="mlp_pytorch_model"):
        load_reward(f"hp:{tmp_path}", device="cpu")
    with pytest.raises(LoadError, match=r"(?s)8y/ICT.*3\.9 GB.*hf download 8y/ICT"):
        load_reward("ict", device="cpu")
    broken = torch.load(saved[0] / "ict" / "pytorch_model.bin", weights_only=True)
    del broken["visual_projection.weight"]
    for file in (saved[0] / "ict").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    torch.save(broken, tmp_path / "pytorch_model.bin")
    with pytest.raises(LoadError, match="visual_projection"):
        load_reward(f"ict:{tmp_path}", device="cpu")
