"""Who draws changes no number: here, in workers, and in workers of which one is killed, all to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from same_numbers import COMMANDS, prepare, read_numbers
from worker_kills import one_killed

Reference = Callable[[str], tuple[Path, dict[str, Any]]]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """What a command comes to in this process; made once."""
    place, known = tmp_path_factory.mktemp("same"), dict[str, dict[str, Any]]()

    def find(name: str) -> tuple[Path, dict[str, Any]]:
        inputs = prepare(place / "in")
        if name not in known:
            COMMANDS[name](inputs, place / name, {})
            known[name] = read_numbers(place / name)
        return inputs, known[name]

    return find


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", ["curate"])
@pytest.mark.nightly
def test_with_two_processes_of_which_one_is_killed(
    reference: Reference, tmp_path: Path, name: str, seed: int
) -> None:
    inputs, expected = reference(name)
    assert len(expected) > 2
    with one_killed(seed, within=6) as killed:
        COMMANDS[name](inputs, tmp_path / name, {"workers": 2})
    assert killed
    assert read_numbers(tmp_path / name) == expected


@pytest.mark.nightly
@pytest.mark.enable_socket
@pytest.mark.parametrize(
    ("on", "kill"),
    [("processes", True), ("ray", False), ("ray", True)],
    ids=["processes, one is killed", "ray", "ray, one is killed"],
)
@pytest.mark.parametrize("name", COMMANDS)
def test_with_two_workers(
    request: pytest.FixtureRequest, reference: Reference, tmp_path: Path, name: str, kill: bool, on: str
) -> None:
    scale: dict[str, Any] = {"workers": 2}
    if on == "ray":
        request.getfixturevalue("ray_cluster")
        scale["ray"] = "auto"
    inputs, expected = reference(name)
    if kill:
        with one_killed(7, within=8) as killed:
            COMMANDS[name](inputs, tmp_path / name, scale)
        assert killed
    else:
        COMMANDS[name](inputs, tmp_path / name, scale)
    assert read_numbers(tmp_path / name) == expected
