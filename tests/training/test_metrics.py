"""Metric rows: appended, cut at a checkpoint, finite, and on TensorBoard where wanted."""

from __future__ import annotations

from pathlib import Path

import pytest

from dfprompt.training.metrics import MetricsLog, read_rows


def test_rows_after_the_checkpoint_are_cut_with_what_a_kill_left(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    log = MetricsLog(path)
    for step in range(1, 6):
        log.write({"step": step, "loss": 1 / step})
    with path.open("a") as file:
        file.write('{"step": 6, "lo')
    MetricsLog(path, resume_at=3).write({"step": 4, "loss": 0.0})
    assert [row["step"] for row in read_rows(path)] == [1, 2, 3, 4]
    assert read_rows(path)[-1]["loss"] == 0


def test_a_new_run_begins_with_an_empty_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).write({"step": 1})
    MetricsLog(path)
    assert read_rows(path) == []
    assert read_rows(tmp_path / "nothing.jsonl") == []


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    MetricsLog(path).write({"step": 1, "loss": float("nan"), "norm": float("inf")})
    assert read_rows(path) == [{"step": 1, "loss": None, "norm": None}]


def test_tensorboard_gets_the_same_numbers(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = MetricsLog(tmp_path / "metrics.jsonl", tensorboard=tmp_path / "board")
    for step in (1, 2):
        log.write({"step": step, "loss": 1 / step, "text": "x"})
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "board"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1.0), (2, 0.5)]
