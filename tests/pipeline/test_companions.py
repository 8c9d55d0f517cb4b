"""What goes with a pipeline is data beside its weights, for anybody's model."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.api.companions import choose_lexicon, companions_of
from dfprompt.errors import LoadError
from dfprompt.pipeline.companions import NOTHING, Companions, find_companions, save_companions
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
