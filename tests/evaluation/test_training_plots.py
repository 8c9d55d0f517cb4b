"""Learning curves: what was logged is drawn, what is no number is left out, nothing foreign runs."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from dfprompt.api.training_plots import plot_training, plotted
from dfprompt.errors import ConfigError, DFPromptWarning, TrainingError
from dfprompt.evaluation.training_plots import draw_curves, gather_curves, smooth

NASTY = "<script>alert(1)</script>\u202e"
ROWS = [
    {
        "step": step,
        "reward": 1.0 + step,
        "validation_reward": 2.0 if step % 10 == 0 else None,
        "loss": -0.5,
        "kl/text": 0.1 * step,
        "kl/range": 0.2,
        "terms/$aesthetic$_^": 1.0,
        "on": True,
        "alerts": [f"few words: {NASTY}"] if step == 12 else None,
    }
    for step in range(1, 41)
]
EARLY, FULL = {"text": "a", "range": [1, 0.5], "weight": 0.5}, {"text": "b", "range": [1, 0]}
LATE, OTHER = {"text": "c", "range": [0.5, 0], "weight": 1.5}, {"text": "d", "range": [1, 0.85]}
SAMPLES = [
    {"step": 10, "modifiers": [EARLY, FULL]},
    {"step": 10, "modifiers": [LATE, OTHER]},
    {"step": 20, "modifiers": []},
]


def test_curves_are_the_numbers_that_were_logged() -> None:
    curves = gather_curves(ROWS, SAMPLES)
    assert curves.numbers["validation_reward"] == ([10, 20, 30, 40], [2.0] * 4)
    assert "on" not in curves.numbers
    assert {key: values for key, (_, values) in curves.numbers.items() if "range " in key} == {
        "range early": [0.25],
        "range full": [0.25],
        "range late": [0.25],
        "range 1->0.85": [0.25],
    }
    assert curves.numbers["mean weight"] == ([10], [1.0])
    assert curves.events == [(12, f"few words: {NASTY}")]
    titles = [title for title, _, _ in curves.panels()]
    assert titles[:3] == ["reward", "terms of the reward", "divergence from stage 1"]
    assert "loss" not in titles


def test_stage_one_shows_its_losses() -> None:
    rows = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "validation_loss": 1.5}]
    assert gather_curves(rows, []).panels()[0] == ("loss", "nats", ["loss", "validation_loss"])


def test_smoothing_keeps_the_mean_of_a_line() -> None:
    assert smooth([float(value) for value in range(9)])[1:-1] == [float(value) for value in range(1, 8)]


def test_the_picture_opens_and_grows_with_the_panels() -> None:
    small, large = (
        Image.open(io.BytesIO(draw_curves(gather_curves(rows, []), NASTY))) for rows in (ROWS[:1], ROWS)
    )
    assert small.format == "PNG"
    assert large.size[0] == small.size[0]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SAMPLES))
    (folder / "recipe.toml").write_text(f'seed = 1\n[reward]\nsource = "{NASTY[:-1]}"\n')
    return folder


def test_a_run_gets_a_picture_and_a_page(run: Path, tmp_path: Path) -> None:
    picture, page = plot_training(run, output=tmp_path / "out")
    assert (picture.name, page.name) == ("curves.png", "curves.html")
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "\u202e" not in text
    assert "few words: &lt;script&gt;" in text
    assert "step 12" in text
    assert "reward.source" in text
    assert "<td>validation_reward</td><td>2.0000</td>" in text
    assert not list(run.glob("curves.*"))


@pytest.mark.parametrize("rows", [None, "", '{"step": 1}\n'])
def test_a_folder_without_a_training_is_refused(tmp_path: Path, rows: str | None) -> None:
    if rows is not None:
        (tmp_path / "metrics.jsonl").write_text(rows)
    with pytest.raises(ConfigError, match=r"no training|no numbers"):
        plot_training(tmp_path)


def test_a_training_that_stops_leaves_its_curves(run: Path) -> None:
    with pytest.raises(TrainingError, match="watchdog"), plotted(run):
        raise TrainingError("a watchdog stopped the run")
    assert (run / "curves.png").is_file()
    assert (run / "curves.html").is_file()


def test_nothing_is_drawn_into_a_folder_that_a_training_was_refused(run: Path) -> None:
    (run / "recipe.toml").unlink()
    with pytest.raises(TrainingError), plotted(run):
        raise TrainingError("somebody's folder")
    assert not (run / "curves.png").exists()


def test_what_prevents_the_curves_is_a_warning(run: Path) -> None:
    (run / "metrics.jsonl").write_text("?\n")
    with pytest.warns(DFPromptWarning, match="no learning curves were drawn"), plotted(run):
        pass
