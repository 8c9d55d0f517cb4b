"""Fixtures for the tiny scorers; a plugin of its own so that tests that need none import no torch."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def clip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIPModel in OpenAI's layout, written once per session; only read it."""
    import tiny_rewards

    return tiny_rewards.save_clip(tmp_path_factory.mktemp("scorers") / "clip")


@pytest.fixture(scope="session")
def pickscore_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random CLIPModel in PickScore's layout (CLIP-H: gelu, the old end token), written once."""
    import tiny_rewards

    folder = tmp_path_factory.mktemp("scorers") / "pickscore"
    return tiny_rewards.save_clip(folder, seed=4, activation="gelu", legacy_end=True)


@pytest.fixture(scope="session")
def head_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random aesthetic head in the published .pth layout, written once per session."""
    import tiny_rewards

    return tiny_rewards.save_published_head(tmp_path_factory.mktemp("scorers") / "head.pth")


@pytest.fixture(scope="session")
def reward_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip/, aesthetic/ and preference/ and no domain, written once per session."""
    import tiny_rewards

    return tiny_rewards.save_set(tmp_path_factory.mktemp("scorers") / "set")


@pytest.fixture(scope="session")
def small_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a domain.json: words it knows and 64 x 64 pictures."""
    import tiny_rewards

    return tiny_rewards.save_set(tmp_path_factory.mktemp("scorers") / "world", domain=True)
