"""Equation 1 by hand, and pictures drawn no more often than needed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from dfprompt.data.confidence import Instruments, Meter, compute_confidence
from dfprompt.data.records import Pair, PromptRecord
from dfprompt.data.settings import ConfidenceSettings
from dfprompt.errors import ConfigError
from tiny_curation import Painter, instruments


def pair(short: str, *modifiers: str, **record: str) -> Pair:
    return Pair(short, modifiers, PromptRecord(", ".join([short, *modifiers]), "1", **record))  # type: ignore[arg-type]


def naive(aesthetic: list[list[float]], clip: list[list[float]], gamma: float) -> list[float]:
    rows = []
    for pretty, faithful in zip(aesthetic, clip, strict=True):
        hits = 0
        for a, c in zip(pretty, faithful, strict=True):
            hits += int(a > 0 and c + gamma > 0)
        rows.append(hits / len(pretty))
    return rows


def test_equation_1_by_hand() -> None:
    aesthetic = torch.tensor([[0.1, 0.2, -0.1, 0.0], [1.0, 1.0, 1.0, 1.0]])
    clip = torch.tensor([[-0.02, -0.005, 0.5, 0.5], [0.0, -0.0099, -0.0101, 0.3]])
    found = compute_confidence(aesthetic, clip, gamma=0.01)
    # Row 0: too far from the text; fine; uglier; no gain. Row 1: fine; fine; too far; fine.
    assert found.tolist() == [0.25, 0.75]
    assert found.tolist() == naive(aesthetic.tolist(), clip.tolist(), 0.01)


def test_gains_are_of_the_same_seed_and_of_the_short_prompt() -> None:
    painter = Painter()
    meter = Meter(instruments(painter), ConfidenceSettings(seeds=3, first_seed=10))
    (found,) = meter.measure([pair("a red cat", "bright", "odd")])
    assert len(found.aesthetic_gain) == len(found.clip_gain) == 3
    for number, seed in enumerate((10, 11, 12)):
        whole, plain = painter.paint("a red cat, bright, odd", seed), painter.paint("a red cat", seed)
        assert found.aesthetic_gain[number] == pytest.approx(float(whole.mean() - plain.mean()), abs=1e-5)
    assert set(painter.asked) == {"a red cat"}


def test_a_plain_picture_is_drawn_once_for_all_its_pairs_of_a_batch() -> None:
    painter = Painter()
    meter = Meter(instruments(painter), ConfidenceSettings(seeds=2))
    meter.measure([pair("a red cat", "bright"), pair("a red cat", "odd"), pair("a star", "odd")])
    meter.measure([pair("a red cat", "dark")])
    assert painter.drawn.count(("a red cat", 0)) == 2  # a batch knows nothing of the one before
    assert painter.drawn.count(("a star", 1)) == 1
    assert len(painter.drawn) == 2 * (4 + 3)
    assert meter.measure([]) == []


def test_pictures_of_the_source_are_taken_and_only_the_rest_is_drawn(tmp_path: Path) -> None:
    for name, level in (("whole.png", 200), ("plain.png", 100)):
        Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name)
    painter = Painter()
    meter = Meter(instruments(painter), ConfidenceSettings(seeds=2))
    given = pair(
        "a red cat", "bright", image=str(tmp_path / "whole.png"), plain_image=str(tmp_path / "plain.png")
    )
    half = pair("a red cat", "odd", image=str(tmp_path / "whole.png"))
    both, one = meter.measure([given, half])
    assert both.aesthetic_gain == pytest.approx([100 / 255] * 2)
    assert painter.drawn == [("a red cat", 0), ("a red cat", 1)]
    assert one.aesthetic_gain[0] != one.aesthetic_gain[1]


def test_judges_are_measured_and_decide_nothing() -> None:
    painter = Painter()

    def judge(images: Tensor, prompts: Sequence[str], records: object = None) -> Tensor:
        return -images.mean((1, 2, 3)) * 100

    meter = Meter(instruments(painter, judge=judge), ConfidenceSettings(seeds=2))
    (found,) = meter.measure([pair("a red cat", "bright")])
    (plain,) = Meter(instruments(Painter()), ConfidenceSettings(seeds=2)).measure(
        [pair("a red cat", "bright")]
    )
    assert found.confidence(0.01) == plain.confidence(0.01)
    assert found.judge_gains["judge"] == pytest.approx(
        [-100 * gain for gain in found.aesthetic_gain], rel=1e-4
    )


def test_both_scores_are_needed() -> None:
    painter = Painter()
    with pytest.raises(ConfigError, match="there is no clip"):
        Instruments(painter, {"aesthetic": instruments(painter).scores["aesthetic"]})
