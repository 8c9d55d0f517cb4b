"""The freeze: code that means the same has the same digest, anything else has not."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.api.world import mini_folder
from dfprompt.errors import LoadError
from worlds.mini import freeze
from worlds.mini.freeze import PARTS, changed_since_freeze, compute_digests, essence


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    for part, name in (("judge", "judge.safetensors"), ("pipeline", "scheduler_config.json")):
        (tmp_path / part).mkdir()
        (tmp_path / part / name).write_bytes(b"weights")
    return tmp_path


def test_comments_docstrings_and_layout_are_no_change() -> None:
    first = 'def f(x):\n    """Old."""\n    return x + 1.5\n'
    assert essence(first) == essence("# note\ndef f( x ):\n    return (x + 1.5)\n")
    assert essence(first) != essence(first.replace("1.5", "1.50001"))
    assert essence('class A:\n    "Only a docstring."\n') == "class A:\n    pass"


def test_every_part_is_seen(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = compute_digests(weights)
    assert set(before) == {*PARTS, "pipeline", "judges"}
    (weights / "judge" / "judge.safetensors").write_bytes(b"others")
    after = compute_digests(weights)
    assert [part for part in before if before[part] != after[part]] == ["judges"]
    (weights / "pipeline" / "scheduler_config.json").write_bytes(b"another sampler")
    assert compute_digests(weights)["pipeline"] != before["pipeline"]
    monkeypatch.setattr(freeze, "essence", lambda source: source + "# changed")
    assert all(compute_digests(weights)[part] != before[part] for part in PARTS)


def test_what_changed_is_named(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen = compute_digests(weights)
    monkeypatch.setattr(freeze, "read_frozen", lambda: {**frozen, "raters": "0" * 16})
    assert changed_since_freeze(weights) == ["raters"]


def test_an_unfrozen_world_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(freeze, "__file__", str(tmp_path / "freeze.py"))
    with pytest.raises(LoadError, match="not frozen"):
        freeze.read_frozen()


def test_the_shipped_world_is_the_frozen_one() -> None:
    """Whoever changes renderer, couplings, raters or judges freezes anew and redoes the experiments."""
    assert changed_since_freeze(mini_folder()) == []
