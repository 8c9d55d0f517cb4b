"""What goes with a pipeline is data beside its weights, for anybody's model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.api.companions import choose_lexicon, companions_of
from dfprompt.errors import LoadError
from dfprompt.pipeline.companions import NOTHING, Companions, find_companions, save_companions
from dfprompt.pipeline.hub import choose_files
from worlds.mini.companions import COMPANIONS


def test_the_packaged_file_is_what_the_build_writes(tmp_path: Path) -> None:
    packaged = companions_of("mini")
    save_companions(COMPANIONS, tmp_path)
    assert packaged.model_copy(update={"embedder": "clip"}) == find_companions(tmp_path)
    assert Path(str(packaged.embedder)).is_dir()


def test_anybodys_model_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "sd" / "policy").mkdir(parents=True)
    save_companions(
        Companions(name="mine", policy="policy", rewards=("clip:policy",), modifiers=("mist", "8k")),
        tmp_path / "sd",
    )
    found = companions_of(str(tmp_path / "sd"))
    assert found.policy == str(tmp_path / "sd" / "policy")
    assert found.rewards == (f"clip:{tmp_path / 'sd' / 'policy'}",)
    assert [entry.text for entry in choose_lexicon((), found).entries] == ["mist", "8k"]
    assert find_companions(tmp_path / "sd" / "unet") == found, "of the folder around it"


@pytest.mark.parametrize("place", ["../policy", "/etc", "clip:../../x"])
def test_nothing_outside_of_its_folder(place: str, tmp_path: Path) -> None:
    save_companions(Companions(policy=place), tmp_path)
    with pytest.raises(LoadError, match="leads out of its folder"):
        find_companions(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"polisy": "x"}', '{"rewards": 3}'])
def test_a_damaged_file_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "companions.json").write_text(text)
    with pytest.raises(LoadError, match=r"companions\.json"):
        find_companions(tmp_path)
    assert find_companions(tmp_path / "none" / "there") == NOTHING


def test_a_model_of_the_hub_brings_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are fetched with the pipeline, and read from the local cache before it is loaded."""
    names = ["model_index.json", "companions.json", "domain.json", "prompts.txt", "policy/model.safetensors"]
    assert choose_files([*names, "policy/config.json", "weights.ckpt", "README.md"]) == tuple(
        sorted([*names, "policy/config.json"])
    )
    assert "prompts.txt" not in choose_files(["model_index.json", "prompts.txt"]), "nothing names it"
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    place = tmp_path / "models--somebody--sd"
    assert companions_of("hub:somebody/sd") == NOTHING
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text("abc", encoding="utf-8")
    assert companions_of("hub:somebody/sd") == NOTHING, "a download that never began"
    (place / "snapshots" / "abc" / "policy").mkdir(parents=True)
    save_companions(Companions(policy="policy"), place / "snapshots" / "abc")
    for name in ("hub:somebody/sd", "somebody/sd"):
        assert companions_of(name).policy == str(place / "snapshots" / "abc" / "policy")
