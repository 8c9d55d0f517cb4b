"""Calibration from end to end: plain pictures drawn, scored, and a recipe that loads again."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from dfprompt.api import calibration
from dfprompt.api.calibration import calibrate_reward
from dfprompt.api.rewards import load_reward
from dfprompt.errors import ConfigError, InputError
from dfprompt.rewards import CompositeReward
from tiny_rewards import pictures, prompts


class Painter:
    """Draws a picture that depends on the seed and on the prompt, as a pipeline does."""

    def __init__(self) -> None:
        self.drawn: list[tuple[str, int]] = []

    def generate(self, prompts: Sequence[str], seeds: Sequence[int], *, plain: bool = False) -> Tensor:
        assert plain  # brackets in a plain prompt are words
        self.drawn += zip(prompts, seeds, strict=True)
        return torch.cat(
            [pictures(1, seed=seed + 100 * len(text)) for text, seed in zip(prompts, seeds, strict=True)]
        )


def test_each_prompt_is_drawn_with_each_seed_and_the_recipe_loads(reward_set: Path, tmp_path: Path) -> None:
    painter, seen = Painter(), []
    run = calibrate_reward(
        prompts(20),
        tmp_path / "r.toml",
        pipeline=painter,
        reward=str(reward_set),
        quantile=0.25,
        seeds=(3, 4),
        device="cpu",
        progress=lambda done, total: seen.append((done, total)),
    )
    assert painter.drawn == [(prompt, seed) for prompt in dict.fromkeys(prompts(20)) for seed in (3, 4)]
    assert len(painter.drawn) < 40, "a prompt that comes again is not drawn again"
    assert seen == [(len(painter.drawn), len(painter.drawn))]
    reward = load_reward(tmp_path / "r.toml", device="cpu")
    assert isinstance(reward, CompositeReward)
    assert reward.constants == run.calibration.constants
    texts = [prompt for prompt in prompts(20) for _ in (3, 4)]
    images = Painter().generate(texts, [3, 4] * 20, plain=True)
    scores = reward.plain_scores(images, texts)
    for name, threshold in (("clip", reward.constants.zeta), ("preference", reward.constants.kappa)):
        expected = scores[name].double().quantile(0.25).item()
        assert threshold == pytest.approx(expected, rel=1e-3)
        share = (scores[name] < threshold).float().mean().item()
        report = run.calibration.gates["zeta" if name == "clip" else "kappa"]
        assert report.binds == pytest.approx(share)
        assert 0.15 <= share <= 0.3
    text = (tmp_path / "r.toml").read_text()
    assert "# Calibrated on Painter, 20 prompts, quantile 0.25." in text
    assert "binds on" in text
    assert tomllib.loads(text)["provenance"]["seeds"] == [3, 4]
    shown = run.to_json()
    assert shown["images"] == 40
    assert shown["gates"]["zeta"].keys() == {"threshold_before", "binds_before", "threshold", "binds"}


def test_paths_in_the_new_recipe_are_right_from_its_folder(reward_set: Path, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "set").symlink_to(reward_set)
    (tmp_path / "old" / "mine.py").write_text(
        "def light(images, prompts, records=None):\n    return images.mean((1, 2, 3))\n"
    )
    models = "\n".join(f'{part} = "set"' for part in ("clip", "aesthetic"))
    extra = '[[extra]]\nname = "light"\nfunction = "mine.py:light"\n'
    judge = '[[judges]]\nname = "j"\nscore = "clip:set/preference"\n'
    (tmp_path / "old" / "r.toml").write_text(
        f'[models]\n{models}\npreference = "pickscore:set"\n{extra}{judge}'
    )
    output = tmp_path / "new" / "deep" / "r.toml"
    calibrate_reward(
        prompts(8),
        output,
        pipeline=Painter(),
        reward=str(tmp_path / "old" / "r.toml"),
        seeds=(0,),
        device="cpu",
        allow_code=True,
    )
    saved = tomllib.loads(output.read_text())
    assert saved["models"]["clip"] == "../../old/set"
    assert saved["models"]["preference"] == "pickscore:../../old/set"
    assert saved["extra"][0]["function"] == "../../old/mine.py:light"
    assert saved["judges"][0]["score"] == "clip:../../old/set/preference"
    load_reward(output, device="cpu", allow_code=True)(pictures(2), prompts(2))


def test_what_cannot_be_calibrated_is_named(reward_set: Path, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text("[composite]\nc = 0\nd = 0\n")
    with pytest.raises(ConfigError, match="both gates have weight 0"):
        calibrate_reward(prompts(8), tmp_path / "o.toml", pipeline=Painter(), reward=str(tmp_path / "r.toml"))
    with pytest.raises(ConfigError, match="at least 8 plain pictures, 4 were asked for"):
        calibrate_reward(
            prompts(4),
            tmp_path / "o.toml",
            pipeline=Painter(),
            reward=str(reward_set),
            seeds=(0,),
            device="cpu",
        )
    with pytest.raises(ConfigError, match="got none"):
        calibrate_reward([], tmp_path / "o.toml", pipeline=Painter(), reward=str(reward_set), device="cpu")
    with pytest.raises(ConfigError, match="is no reward"):
        calibrate_reward(prompts(8), tmp_path / "o.toml", pipeline=Painter(), reward="clip", device="cpu")
    assert not (tmp_path / "o.toml").exists()


def test_any_pipeline_but_minis_is_calibrated_for_the_papers_reward(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def read(source: str, shelf: object) -> None:
        asked.append(source)
        raise ConfigError("enough")

    monkeypatch.setattr(calibration, "read_reward_settings", read)
    for pipeline in (Painter(), "mini", "models/sd14"):
        with pytest.raises(ConfigError, match="enough"):
            calibrate_reward(prompts(8), tmp_path / "o.toml", pipeline=pipeline)
    assert asked == ["paper", "mini", "paper"]


def test_an_existing_recipe_is_kept_without_force(reward_set: Path, tmp_path: Path) -> None:
    (tmp_path / "o.toml").write_text("kept")
    with pytest.raises(InputError, match="--force"):
        calibrate_reward(
            prompts(8),
            tmp_path / "o.toml",
            pipeline=Painter(),
            reward=str(reward_set),
            seeds=(0,),
            device="cpu",
        )
    assert (tmp_path / "o.toml").read_text() == "kept"


def test_a_real_pipeline_draws_the_plain_pictures(tiny_pipe, reward_set: Path, tmp_path: Path) -> None:
    from dfprompt.pipeline.defaults import PipelineDefaults
    from dfprompt.pipeline.image_pipeline import ImagePipeline

    pipeline = ImagePipeline(tiny_pipe("sd1"), defaults=PipelineDefaults(num_inference_steps=2))
    texts = [*prompts(7), "a [sic] sign: [x"]  # words, whatever brackets stand in them
    run = calibrate_reward(
        texts, tmp_path / "r.toml", pipeline=pipeline, reward=str(reward_set), seeds=(0, 1), device="cpu"
    )
    assert run.calibration.images == 16
    images = pipeline.generate([text for text in texts for _ in (0, 1)], [0, 1] * 8, plain=True)
    reward = load_reward(tmp_path / "r.toml", device="cpu")
    scores = reward.plain_scores(images, [text for text in texts for _ in (0, 1)])
    middle = scores["clip"].double().quantile(0.5).item()
    assert reward.constants.zeta == pytest.approx(middle, abs=1e-3)
    below = (scores["clip"] < reward.constants.zeta).float().mean().item()
    assert run.calibration.gates["zeta"].binds == pytest.approx(below, abs=1 / 16)
