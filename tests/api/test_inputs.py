"""Digests of what a run reads follow the files behind a name, however it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.api.inputs import digest_source


@pytest.mark.parametrize(
    "named", ["{}", "clip:{}", "{}/../reward.toml", "taste:{}/..", "taste:{}/../taste.toml"]
)
def test_a_digest_changes_with_the_weights_behind_it(named: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"before")
    (tmp_path / "reward.toml").write_text('[models]\nclip = "model"\n')
    (tmp_path / "taste.toml").write_text(
        f'choices = 1\nrewards = ["clip:{folder}"]\n'
        '[[terms]]\nname = "clip"\nweight = 1.0\nlow = 0.0\nhigh = 2.0\n'
    )
    source = named.format(folder)
    before = digest_source(source)
    assert digest_source(source) == before
    (folder / "model.safetensors").write_bytes(b"after it was trained on")
    assert digest_source(source) != before


def test_a_name_without_files_is_its_own_digest(tmp_path: Path) -> None:
    assert digest_source("clip") != digest_source("pickscore")
