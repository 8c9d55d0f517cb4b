"""Fixtures for the tiny pipelines; a plugin of its own so that tests that need none import no torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`tiny_folder("sdxl")`: a folder in the official layout, written once per session; only read it."""
    import tiny_pipelines

    root = tmp_path_factory.mktemp("tiny-pipelines")

    def folder(name: str) -> Path:
        path = root / name
        if not path.exists():
            tiny_pipelines.build(name).save_pretrained(path)
        return path

    return folder


@pytest.fixture
def tiny_pipe(tiny_folder: Callable[[str], Path]) -> Callable[[str], Any]:
    """`tiny_pipe("sdxl")` is a freshly loaded pipeline that the test may change as it likes."""
    import tiny_pipelines

    return lambda name: tiny_pipelines.load(tiny_folder(name))


@pytest.fixture(scope="session")
def miniature_world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A miniature of the mini world, trained for a few steps: the build's folder; only read it."""
    from worlds.mini.build import Build
    from worlds.mini.recipe import miniature

    folder = tmp_path_factory.mktemp("miniature-world")
    Build(folder, miniature()).run()
    return folder
