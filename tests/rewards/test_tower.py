"""Image towers: passes counted, texts cached and forgotten in time, long prompts cut with a word."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from dfprompt.errors import DFPromptWarning
from dfprompt.rewards import ClipTower, ImageBatch, ScoreLoader, score_together
from dfprompt.rewards import tower as tower_module
from tiny_rewards import pictures, prompts


@pytest.fixture
def shelf() -> ScoreLoader:
    return ScoreLoader(device="cpu")


@contextmanager
def counted(tower: ClipTower) -> Iterator[dict[str, int]]:
    """Forward passes of the two halves of a tower."""
    calls = {"image": 0, "text": 0, "images": 0, "texts": 0}

    def count(kind: str):
        def hook(module, arguments, options, output):
            calls[kind] += 1
            calls[kind + "s"] += len(output.pooler_output)

        return hook

    hooks = [
        tower.model.vision_model.register_forward_hook(count("image"), with_kwargs=True),
        tower.model.text_model.register_forward_hook(count("text"), with_kwargs=True),
    ]
    yield calls
    for hook in hooks:
        hook.remove()


def test_clip_and_aesthetic_together_cost_one_image_pass(
    shelf: ScoreLoader, clip_folder: Path, head_file: Path
) -> None:
    clip = shelf.load_score("clip", str(clip_folder))
    aesthetic = shelf.load_score("aesthetic", str(head_file), tower=str(clip_folder))
    tower = next(clip.towers())
    assert next(aesthetic.towers()) is tower
    with counted(tower) as calls:
        both = score_together({"clip": clip, "aesthetic": aesthetic}, pictures(5), prompts(5))
    assert calls == {"image": 1, "images": 5, "text": 1, "texts": 5}
    torch.testing.assert_close(both["clip"], clip(pictures(5), prompts(5)))
    torch.testing.assert_close(both["aesthetic"], aesthetic(pictures(5), prompts(5)))


def test_the_composite_runs_each_model_once(reward_set: Path) -> None:
    from dfprompt.api.rewards import load_reward

    reward = load_reward(reward_set, device="cpu")
    towers = list(reward.towers())
    assert len(towers) == 2  # CLIP for two scores, the preference model for one
    with counted(towers[0]) as first, counted(towers[1]) as second:
        reward(pictures(5), prompts(5))
    assert (first["image"], second["image"]) == (1, 1)


def test_two_calls_share_nothing_but_texts(shelf: ScoreLoader, clip_folder: Path) -> None:
    clip = shelf.load_score("clip", str(clip_folder))
    with counted(next(clip.towers())) as calls:
        clip(pictures(3), prompts(3))
        clip(pictures(3, seed=1), prompts(3))
        clip(pictures(2), ["a dog", "a dog"])  # the third of the prompts above, known by now
    assert calls == {"image": 3, "images": 8, "text": 1, "texts": 3}


def test_equal_prompts_are_encoded_once(shelf: ScoreLoader, clip_folder: Path) -> None:
    clip = shelf.load_score("clip", str(clip_folder))
    with counted(next(clip.towers())) as calls:
        clip(pictures(4), ["a dog", "a cat", "a dog", "a dog"])
    assert calls["texts"] == 2


def test_a_changed_text_encoder_forgets_its_texts(shelf: ScoreLoader, clip_folder: Path) -> None:
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    before = tower.text_features(["a red house"])
    tower.model.text_model.final_layer_norm.weight.mul_(torch.linspace(0.5, 1.5, 32))
    after = tower.text_features(["a red house"])
    assert not torch.allclose(before, after, atol=1e-3)
    fresh = {name: value.clone() for name, value in tower.model.state_dict().items()}
    fresh["text_projection.weight"].neg_()
    tower.model.load_state_dict(fresh)
    torch.testing.assert_close(tower.text_features(["a red house"]), -after)


def test_a_cast_or_swapped_text_encoder_forgets_its_texts(shelf: ScoreLoader, clip_folder: Path) -> None:
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    exact = tower.text_features(["a red house"])
    tower.model.to(torch.bfloat16)
    rounded = tower.text_features(["a red house"])
    assert rounded.dtype == torch.float32
    assert 0 < (rounded - exact).abs().max() < 0.05
    other = {name: value.float() + 0.1 for name, value in tower.model.state_dict().items()}
    tower.model.load_state_dict(other, assign=True)
    assert not torch.allclose(tower.text_features(["a red house"]), exact, atol=1e-3)


def test_the_text_cache_keeps_the_latest(
    shelf: ScoreLoader, clip_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tower_module, "_TEXTS_CACHED", 2)
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    with counted(tower) as calls:
        tower.text_features(["a", "b", "c"])  # more than it holds: still answered
        tower.text_features(["b", "c"])
        assert calls["texts"] == 3
        tower.text_features(["b"])  # b is the latest now
        tower.text_features(["d"])
        tower.text_features(["b", "d"])
        assert calls["texts"] == 4
        tower.text_features(["c"])
        assert calls["texts"] == 5


def test_a_long_prompt_is_cut_with_a_warning_that_quotes_the_loss(
    shelf: ScoreLoader, clip_folder: Path
) -> None:
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    kept = "a " * 75  # 75 words of one token, and the two ends
    with pytest.warns(DFPromptWarning, match='the score ignores "red house"') as caught:
        cut = tower.text_features([kept + "red house"])
    assert len(caught) == 1
    torch.testing.assert_close(cut, tower.text_features([kept]), rtol=0, atol=1e-6)
    tower.text_features([kept + "red house"])  # known, no second warning (warnings are errors here)


def test_a_prompt_that_just_fits_is_not_warned_about(shelf: ScoreLoader, clip_folder: Path) -> None:
    next(shelf.load_score("clip", str(clip_folder)).towers()).text_features(["a " * 75])


@pytest.mark.parametrize("text", ["", "  ", "猫 🐱 \u202e", "x" * 300])
def test_any_text_has_unit_features(shelf: ScoreLoader, clip_folder: Path, text: str) -> None:
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    if len(text) > 100:
        with pytest.warns(DFPromptWarning, match="reads 77 tokens"):
            features = tower.text_features([text])
    else:
        features = tower.text_features([text])
    assert features.norm().item() == pytest.approx(1, abs=1e-5)


def test_the_batch_size_is_kept(shelf: ScoreLoader, clip_folder: Path) -> None:
    tower = next(shelf.load_score("clip", str(clip_folder)).towers())
    tower.batch_size = 2
    with counted(tower) as calls:
        ImageBatch(pictures(5)).features(tower)
    assert calls["image"] == 3


def test_half_precision_scores_are_close(clip_folder: Path) -> None:
    exact = ScoreLoader(device="cpu").load_score("clip", str(clip_folder))(pictures(4), prompts(4))
    half = ScoreLoader(device="cpu", dtype="bfloat16").load_score("clip", str(clip_folder))
    scores = half(pictures(4), prompts(4))
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, rtol=0, atol=0.03)  # bfloat16 keeps 8 bits


def test_towers_are_frozen_and_move(shelf: ScoreLoader, clip_folder: Path) -> None:
    score = shelf.load_score("clip", str(clip_folder))
    tower = next(score.towers())
    assert not any(parameter.requires_grad for parameter in tower.model.parameters())
    assert not tower.model.training
    assert score.to("meta") is score
    assert tower.device == torch.device("meta")
