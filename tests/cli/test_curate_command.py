"""`dfprompt curate` as users meet it: text only, with real pictures and scores, killed and resumed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfprompt.api.curation import read_logs
from dfprompt.config import load_config
from dfprompt.data.settings import CurateSettings
from dfprompt.mini.world import HELD_OUT_PAIRS

Cli = Callable[..., Any]
PROMPTS = """a red house, film grain, snow
a red house, anime style
A RED HOUSE,  film grain, snow
blue cat
old dog, photo, grain
an horse, (old:1.2), <lora:x:1>
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text(PROMPTS)
    return path


def rows(folder: Path, *names: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for name in names for line in (folder / f"{name}.jsonl").read_text().splitlines()
    ]


def gains(lines: list[str]) -> dict[str, list[float]]:
    found = (json.loads(line) for line in lines)
    return {row["key"]: [*row["aesthetic_gain"], *row["clip_gain"]] for row in found}


def test_text_only_loads_no_model_and_loses_no_row(cli: Cli, source: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = cli("curate", str(source), "--no-images", "--output", str(data), "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert list(answer)[:2] == ["dfprompt", "output"]
    kept, removed = rows(data, "train", "validation", "test"), rows(data, "removed")
    assert answer["read"] == len(kept) + len(removed) == 6
    assert {row["prompt"] for row in removed} == {"A RED HOUSE,  film grain, snow", "blue cat"}
    assert {tuple(row["modifiers"]) for row in kept} >= {("film grain", "snow"), ("anime style",)}
    assert not any("lora" in modifier or "(" in modifier for row in kept for modifier in row["modifiers"])


@pytest.mark.slow
def test_pictures_are_drawn_scored_and_kept_over_a_resume(
    cli: Cli, source: Path, reward_set: Path, tiny_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    scores = [f"confidence.{kind}={kind}:{reward_set / kind}" for kind in ("aesthetic", "clip")]
    changes = [*scores, "confidence.seeds=2", "confidence.batch_size=2"]
    arguments = [str(source), "--output", str(data), "--pipeline", str(tiny_folder("sd1"))]
    arguments += [part for change in changes for part in ("--set", change)]
    done = cli("curate", *arguments)
    assert done.returncode == 0, done.stderr
    assert "with modifiers minus without" in done.stdout
    loose = {"recipe.toml", "scores.jsonl", "report.json", "report.md"}
    before = {path.name: path.read_bytes() for path in data.iterdir()}
    measured = (data / "scores.jsonl").read_text().splitlines()
    assert len(measured) == 4
    # As a kill leaves it: one batch whole, of the next one line, and one cut short.
    (data / "scores.jsonl").write_text("\n".join([*measured[:3], measured[3][:20]]))
    again = cli("curate", *arguments, "--resume", "--json")
    assert again.returncode == 0, again.stderr
    assert "2 of 2 prompts" in again.stderr
    assert gains((data / "scores.jsonl").read_text().splitlines()) == gains(measured)
    after = {path.name: path.read_bytes() for path in data.iterdir() if path.name not in loose}
    assert after == {name: content for name, content in before.items() if name not in loose}


def test_a_data_set_that_stands_is_not_touched(cli: Cli, source: Path, tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    assert cli("curate", str(source), "--no-images", "--output", data).returncode == 0
    again = cli("curate", str(source), "--no-images", "--output", data)
    assert again.returncode == 2
    assert "--resume" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.jsonl", "--no-images"], "nowhere.jsonl"),
        (["prompts.txt"], "--pipeline"),
        (["prompts.txt", "--set", "confidence.sigm=1"], "sigma"),
        (["prompts.txt", "--set", "confidence.sigma=2"], "sigma"),
        (["empty.txt", "--no-images"], "no row is left"),
    ],
)
def test_bad_input_is_one_message(
    cli: Cli, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").write_text("\n\n")
    done = cli("curate", *arguments, "--output", str(tmp_path / "data"))
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "data").glob("*.jsonl")) if (tmp_path / "data").exists() else True


@pytest.mark.nightly
def test_the_mini_logs_are_records_with_their_facts() -> None:
    records = list(read_logs(50))
    assert len(records) == 50
    for record in records:
        assert record.short is not None
        assert record.prompt == ", ".join([record.short, *(record.modifiers or ())])
        assert (record.extra["subject"], record.extra["scene"]) not in HELD_OUT_PAIRS


def test_the_mini_recipe_can_be_read() -> None:
    settings = load_config(CurateSettings, Path(__file__).resolve().parents[2] / "recipes/mini-curate.toml")
    assert settings.confidence.pipeline == "mini"
    assert settings.confidence.sigma == 0.5
