"""Curation as a whole: kept and rejected, sets, reports, resuming without a picture drawn twice."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from dfprompt.data import CurateSettings, PromptRecord, curate
from dfprompt.data.curate import read_scores
from dfprompt.data.report import gain_of
from dfprompt.data.sets import SETS
from dfprompt.errors import ConfigError, InputError
from tiny_curation import Painter, instruments


def records(shorts: int = 12) -> list[PromptRecord]:
    """For each short prompt: three modified forms, one duplicate, one without modifiers, one not safe."""
    rows = []
    for number in range(shorts):
        short = f"a red cat number {number}"
        texts = [f"{short}, bright", f"{short}, dark", f"{short}, pretty", f"{short.upper()}, bright", short,
                 f"{short}, nude"]  # fmt: skip
        rows += [
            PromptRecord(text, f"{number}.{at}", extra={"subject": "cat"}) for at, text in enumerate(texts)
        ]
    return rows


def settings(**groups: Any) -> CurateSettings:
    return CurateSettings.model_validate(
        {"sets": {"validation": 0.2, "test": 0.2}, "confidence": {"batch_size": 4}, **groups}
    )


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        for name in (*SETS, "removed")
    }


def test_modifiers_that_help_are_kept_and_the_others_rejected(tmp_path: Path) -> None:
    report = curate(records(), settings(), tmp_path, instruments=lambda: instruments(Painter()))
    rows = rows_of(tmp_path)
    kept = {row["modifiers"][0]: row["kept"] for name in SETS for row in rows[name]}
    # "pretty" is brighter and far less red; "dark" is not brighter.
    assert kept == {"bright": True, "dark": False, "pretty": False}
    assert all(row["subject"] == "cat" for name in SETS for row in rows[name])
    assert (report.read, report.kept, report.rejected) == (72, 12, 24)
    assert report.removed == {"duplicate": 12, "modifiers": 12, "words": 12}


def test_a_source_s_own_verdict_is_not_the_filter_s(tmp_path: Path) -> None:
    """A column of the source that is named like one of ours."""
    theirs = {"kept": "yes", "confidence": 7, "where": "elsewhere", "short": "x", "likes": 4}
    rows = [PromptRecord(each.prompt, each.where, extra={**each.extra, **theirs}) for each in records()]
    report = curate(rows, settings(), tmp_path, instruments=lambda: instruments(Painter()))
    written = [row for name in SETS for row in rows_of(tmp_path)[name]]
    assert sum(row["kept"] is True for row in written) == report.kept == 12
    assert {row["confidence"] for row in written} <= {0.0, 0.5, 1.0}
    assert {row["where"] for row in written} <= {record.where for record in rows}
    assert all(row["short"].startswith("a red cat") and row["likes"] == 4 for row in written)


def test_the_same_words_split_elsewhere_are_measured_anew(tmp_path: Path) -> None:
    """Their plain picture is another, whatever the text as a whole is."""
    text = "a red cat, bright, dark"
    first = PromptRecord(text, "1", short="a red cat", modifiers=("bright", "dark"))
    other = PromptRecord(text, "1", short="a red cat, bright", modifiers=("dark",))
    keep = settings(cleaning={"deduplicate": False})
    for number, record in enumerate((first, other)):
        painter = Painter()
        curate([record], keep, tmp_path, instruments=lambda p=painter: instruments(p), resume=number > 0)  # type: ignore[misc]
        assert record.short in [prompt for prompt, _ in painter.drawn]
    assert len(read_scores(tmp_path / "scores.jsonl")) == 2


def test_every_row_is_somewhere_once(tmp_path: Path) -> None:
    curate(records(), settings(), tmp_path, instruments=lambda: instruments(Painter()))
    rows = rows_of(tmp_path)
    places = sorted(row["where"] for part in rows.values() for row in part)
    assert places == sorted(record.where for record in records())
    assert {row["by"] for row in rows["removed"]} == {"duplicate", "modifiers", "words"}
    shorts = [{row["short"] for row in rows[name]} for name in SETS]
    assert not shorts[0] & shorts[1]
    assert not shorts[0] & shorts[2]
    assert all(shorts)


def test_the_report_shows_that_kept_modifiers_are_better(tmp_path: Path) -> None:
    def judge(images: Tensor, prompts: Sequence[str], records: Any = None) -> Tensor:
        assert records[0]["subject"] == "cat"
        return images.mean((1, 2, 3)) * 10

    report = curate(records(), settings(), tmp_path, instruments=lambda: instruments(Painter(), taste=judge))
    gains = report.gains["taste"]
    assert gains["kept"].found.low > gains["rejected"].found.high
    assert gains["kept"].found.mean == pytest.approx(2.0, abs=0.05)
    written = json.loads((tmp_path / "report.json").read_text())
    assert written["dfprompt"] == 1
    assert written["gains"]["taste"]["kept"]["rows"] == 12
    assert sum(written["confidence"]) == 36
    for said in ("72 rows read", "12 removed: words", "12 kept", "taste, with modifiers minus without"):
        assert said in report.summary()


class Fails(Exception):
    """The lamp goes out."""


def test_a_run_that_was_stopped_goes_on_without_drawing_anything_twice(tmp_path: Path) -> None:
    whole = Painter()
    curate(records(), settings(), tmp_path / "whole", instruments=lambda: instruments(whole))

    class Tired(Painter):
        def __call__(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
            if len(self.drawn) > 30:
                raise Fails
            return super().__call__(prompts, seeds)

    tired, fresh = Tired(), Painter()
    with pytest.raises(Fails):
        curate(records(), settings(), tmp_path / "parts", instruments=lambda: instruments(tired))
    with (tmp_path / "parts" / "scores.jsonl").open("a") as file:
        file.write('{"key": "half')
    measured = set(read_scores(tmp_path / "parts" / "scores.jsonl"))
    assert measured
    curate(records(), settings(), tmp_path / "parts", instruments=lambda: instruments(fresh), resume=True)
    modified = [each for each in fresh.drawn if "," in each[0]]
    assert len(modified) == 2 * (36 - len(measured))
    for name in (*SETS, "removed"):
        files = [tmp_path / part / f"{name}.jsonl" for part in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_other_thresholds_need_no_new_pictures(tmp_path: Path) -> None:
    curate(records(), settings(), tmp_path, instruments=lambda: instruments(Painter()))

    def nothing() -> Any:
        raise AssertionError("nothing is left to measure")

    looser = settings(confidence={"batch_size": 4, "gamma": 1.0})
    report = curate(records(), looser, tmp_path, instruments=nothing, resume=True)
    assert report.kept == 24  # "pretty" may now lose what was asked
    other = settings(confidence={"seeds": 5})
    with pytest.raises(ConfigError, match=r"confidence\.seeds"):
        curate(records(), other, tmp_path, instruments=nothing, resume=True)


def test_what_other_scores_measured_is_not_gone_on_with(tmp_path: Path) -> None:
    def go_on(**more: Any) -> None:
        curate(records(), settings(), tmp_path, instruments=lambda: instruments(Painter()), **more)

    go_on(inputs={"clip": "before"})
    with pytest.raises(ConfigError, match="begun with another clip"):
        go_on(inputs={"clip": "after"}, resume=True)
    go_on(inputs={"clip": "before"}, resume=True)
    go_on(inputs={"clip": "after"}, force=True)


def test_a_folder_in_use_is_not_overwritten(tmp_path: Path) -> None:
    plain = settings(confidence={"enabled": False})
    report = curate(records(), plain, tmp_path)
    assert (report.kept, report.rejected) == (36, 0)
    assert "confidence" not in rows_of(tmp_path)["train"][0]
    with pytest.raises(ConfigError, match="--resume"):
        curate(records(), plain, tmp_path)
    assert curate(records()[:6], plain, tmp_path, force=True).read == 6


def test_confidence_needs_something_to_draw_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to draw"):
        curate(records(), settings(), tmp_path)


def test_nothing_left_says_which_filters_took_it(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no row is left of 1: 1 removed by words"):
        curate([PromptRecord("a nude, 8k", "1")], settings(), tmp_path)
    with pytest.raises(InputError, match="none was read"):
        curate([], settings(), tmp_path, force=True)


def test_intervals_resample_short_prompts_and_cover() -> None:
    """Rows of one short prompt are alike: resampling rows would give intervals that are far too short."""
    covered = 0
    for trial in range(200):
        generator = np.random.default_rng(trial)
        effects = np.repeat(generator.normal(size=20), 5)
        values = effects + 0.1 * generator.normal(size=100)
        found = gain_of(values, [str(n // 5) for n in range(100)]).found
        covered += found.low <= 0 <= found.high
    assert 0.87 <= covered / 200 <= 0.99


def test_few_prompts_have_the_wide_interval_of_every_table() -> None:
    """One rule for every table: of three prompts the t interval, which leaves the range of the data."""
    found = gain_of(np.array([1.0, 1.0, 2.0, 3.0]), ["a", "a", "b", "c"])
    assert (found.found.mean, found.rows, found.found.units) == (2.0, 4, 3)
    assert found.found.low == pytest.approx(-0.4841, abs=1e-4)
    alone = gain_of(np.array([1.0, 3.0]), ["a", "a"])
    assert alone.to_json() == {"mean": 2.0, "low": None, "high": None, "prompts": 1, "rows": 2}
    assert "too few" in str(alone)
