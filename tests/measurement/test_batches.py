"""What was drawn together and stopped before its rows is drawn together again: apart it has other bits."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest

from dfprompt.api.pipelines import load_pipeline
from dfprompt.measurement.log import MeasurementLog
from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import HowToDraw, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.prompt import parse_prompt
from dfprompt.requests.render import RenderSettings
from tiny_evaluation import brightness

WORDS = ("a red cat", "a red cat, [film grain:late]", "a red cat, [golden hour:early:1.4]")
SHOTS = [
    Shot(text, PlainPrompt("a red cat"), parse_prompt(text), 0, (0,), f"images/{number}.png")
    for number, text in enumerate(WORDS)
]


@pytest.fixture(scope="module")
def pipeline() -> ImagePipeline:
    """The mini world's: what its words have in common is computed once."""
    return load_pipeline("mini")


def measured(pipeline: ImagePipeline, folder: Path) -> tuple[int, list[dict[str, float]], list[bytes]]:
    """Pictures drawn, scores, and the files."""
    how = HowToDraw(RenderSettings(num_inference_steps=2))
    with MeasurementLog(folder / "rows.jsonl", {"steps": 2}) as log:
        measurement = Measurement(pipeline, Scoreboard({"light": brightness}), log, how, save_first=True)
        rows = measurement.measure(SHOTS)
    return (
        measurement.drawn,
        [row.scores for row in rows],
        [(folder / str(each.picture)).read_bytes() for each in SHOTS],
    )


def test_pictures_without_rows_are_read_if_all_are_there_and_else_all_drawn(
    pipeline: ImagePipeline, tmp_path: Path
) -> None:
    drawn, scores, files = measured(pipeline, tmp_path / "whole")
    assert drawn == len(SHOTS)
    for count in range(len(SHOTS) + 1):
        for saved in combinations(range(len(SHOTS)), count):
            folder = tmp_path / f"killed {saved}"
            (folder / "images").mkdir(parents=True)
            for number in saved:
                (folder / str(SHOTS[number].picture)).write_bytes(files[number])
            again = measured(pipeline, folder)
            assert again == (0 if count == len(SHOTS) else len(SHOTS), scores, files), saved


def test_rows_of_a_batch_cut_short_are_measured_with_the_others(
    pipeline: ImagePipeline, tmp_path: Path
) -> None:
    _, scores, files = measured(pipeline, tmp_path / "out")
    path = tmp_path / "out" / "rows.jsonl"
    whole = path.read_bytes()
    for lines in range(1, whole.count(b"\n")):
        path.write_bytes(b"".join(whole.splitlines(keepends=True)[:lines]))
        assert measured(pipeline, tmp_path / "out") == (0, scores, files), lines
