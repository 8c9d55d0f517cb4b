"""Where weights come from: the cache, folders, ids; and what is said when they are nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants

import tiny_rewards
from dfprompt.errors import LoadError
from dfprompt.published import AESTHETIC, CLIP_H, CLIP_L, HPS, PICKSCORE, Published
from dfprompt.rewards import ScoreLoader
from dfprompt.rewards.weights import find_source
from tiny_rewards import pictures, prompts


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hub cache."""
    folder = tmp_path / "hub"
    folder.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def snapshot(cache: Path, hub_id: str) -> Path:
    """A snapshot folder as `hf download` lays it out."""
    repo = cache / f"models--{hub_id.replace('/', '--')}"
    commit = "0" * 40
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    folder = repo / "snapshots" / commit
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize(
    ("kind", "published", "size"),
    [
        ("clip", CLIP_L, "1.7 GB"),
        ("pickscore", PICKSCORE, "3.9 GB"),
        ("hps", HPS, "2.0 GB"),
        ("aesthetic", AESTHETIC, "4 MB"),
    ],
)
def test_missing_weights_name_the_command_that_fetches_them(
    kind: str, published: Published, size: str
) -> None:
    with pytest.raises(LoadError) as caught:
        ScoreLoader(device="cpu").load_score(kind)
    message = str(caught.value)
    assert f"hf download {published.hub_id}" in message
    assert size in message
    assert "licence" in message


def test_the_commands_are_ones_that_hf_understands() -> None:
    assert CLIP_L.command == (
        "hf download openai/clip-vit-large-patch14 "
        '--include "*.json" --include "*.txt" --include "model.safetensors"'
    )
    assert HPS.command == 'hf download xswu/HPSv2 "HPS_v2.1_compressed.pt"'


def test_cached_weights_are_found_by_kind(cache: Path) -> None:
    tiny_rewards.save_clip(snapshot(cache, CLIP_L.hub_id))
    tiny_rewards.save_clip(snapshot(cache, PICKSCORE.hub_id), seed=4, activation="gelu", legacy_end=True)
    tiny_rewards.save_published_head(snapshot(cache, AESTHETIC.hub_id) / "aesthetic-model.pth")
    tiny_rewards.save_open_clip(snapshot(cache, HPS.hub_id))
    shelf = ScoreLoader(device="cpu")
    scores = {kind: shelf.load_score(kind) for kind in ("clip", "pickscore", "hps", "aesthetic")}
    assert next(scores["clip"].towers()) is next(scores["aesthetic"].towers())
    for score in scores.values():
        assert score(pictures(2), prompts(2)).shape == (2,)


def test_hps_takes_its_configuration_from_the_cached_clip_h(cache: Path, tmp_path: Path) -> None:
    tiny_rewards.save_open_clip(tmp_path / "whole")
    checkpoint = snapshot(cache, HPS.hub_id) / HPS.files[0]
    (tmp_path / "whole" / HPS.files[0]).rename(checkpoint)
    with pytest.raises(LoadError, match=CLIP_H.hub_id):
        ScoreLoader(device="cpu").load_score("hps")
    for file in (tmp_path / "whole").iterdir():
        target = cache / "models--laion--CLIP-ViT-H-14-laion2B-s32B-b79K"
        if not target.exists():
            configs = snapshot(cache, CLIP_H.hub_id)
        file.rename(configs / file.name)
    score = ScoreLoader(device="cpu").load_score("hps")
    assert score(pictures(2), prompts(2)).shape == (2,)


def test_a_half_downloaded_model_counts_as_missing(cache: Path) -> None:
    folder = snapshot(cache, CLIP_L.hub_id)
    tiny_rewards.save_clip(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(LoadError, match="hf download"):
        ScoreLoader(device="cpu").load_score("clip")


def test_an_id_that_cannot_be_fetched_now_names_the_command() -> None:
    with pytest.raises(LoadError, match="hf download someone/some-clip") as caught:
        ScoreLoader(device="cpu").load_score("clip", "hub:someone/some-clip")
    assert "cannot be downloaded now" in str(caught.value)


def test_a_cached_id_is_found(cache: Path) -> None:
    tiny_rewards.save_clip(snapshot(cache, "someone/some-clip"))
    score = ScoreLoader(device="cpu").load_score("clip", "hub:someone/some-clip")
    assert torch.isfinite(score(pictures(1), prompts(1))).all()


@pytest.mark.parametrize("source", ["no-such-folder", "a/b/c", "../x", "/nowhere/at/all", "", "C:\\none"])
def test_what_is_neither_a_path_nor_an_id_is_named(tmp_path: Path, source: str) -> None:
    if source == "":
        assert find_source(source, tmp_path) == tmp_path  # the folder itself
        return
    with pytest.raises(LoadError, match="no such file or folder"):
        find_source(source, tmp_path / "base")


def test_relative_paths_start_at_the_base(tmp_path: Path) -> None:
    (tmp_path / "models" / "clip").mkdir(parents=True)
    assert find_source("models/clip", tmp_path) == tmp_path / "models" / "clip"


def test_damaged_and_foreign_folders_are_named(tmp_path: Path) -> None:
    shelf = ScoreLoader(device="cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LoadError, match=r"empty: no config\.json"):
        shelf.load_score("clip", str(tmp_path / "empty"))
    broken = tiny_rewards.save_clip(tmp_path / "broken")
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    with pytest.raises(LoadError, match="broken: cannot be loaded"):
        shelf.load_score("clip", str(broken))
    weights.unlink()
    with pytest.raises(LoadError, match="broken: cannot be loaded"):
        shelf.load_score("clip", str(broken))


def test_a_folder_without_some_of_the_tensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    folder = tiny_rewards.save_clip(tmp_path / "half")
    state = load_file(folder / "model.safetensors")
    save_file(
        {name: value for name, value in state.items() if "text_model" not in name},
        folder / "model.safetensors",
        {"format": "pt"},
    )
    with pytest.raises(LoadError, match="tensors are missing, such as text_model"):
        ScoreLoader(device="cpu").load_score("clip", str(folder))


def test_a_folder_without_its_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tiny_rewards.save_clip(tmp_path / "mute")
    for name in ("tokenizer.json", "vocab.json", "merges.txt", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(LoadError, match="mute"):
        ScoreLoader(device="cpu").load_score("clip", str(folder))
