"""Summaries and tables of rows written by hand: every number recomputed, CSV read back, markdown escaped."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dfprompt.evaluation import tables
from dfprompt.evaluation.methods import Plain
from dfprompt.evaluation.rewrites import Rewrites
from dfprompt.evaluation.run import Outcome, Plan
from dfprompt.evaluation.summary import Summary, summarize
from dfprompt.evaluation.tables import (
    Metric,
    format_markdown,
    format_methods_csv,
    format_number,
    format_scores_csv,
    write_tables,
)
from dfprompt.measurement.prompts import as_prompts
from dfprompt.measurement.rows import Row
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.prompt import DFPrompt
from dfprompt.statistics.comparison import compare_scores
from dfprompt.statistics.significance import adjust_holm
from tiny_evaluation import Styled, brightness, redness

PROMPTS = as_prompts(["a cat", "a dog", "a horse"])
NAMES = ["plain", "a|b", "third"]
GENERATOR = np.random.default_rng(2)
VALUES = {
    (method, prompt.id, seed, score): float(GENERATOR.normal(0.3 * number, 1))
    for number, method in enumerate(NAMES)
    for prompt in PROMPTS
    for seed in (0, 1)
    for score in ("light", "watch")
}
MISSING = ("third", PROMPTS[1].id, 1)


def _outcome(folder: Path) -> Outcome:
    rows = []
    for prompt in PROMPTS:
        for seed in (0, 1):
            for method in NAMES:
                scores = {name: VALUES[method, prompt.id, seed, name] for name in ("light", "watch")}
                failed = {}
                if (method, prompt.id, seed) == MISSING:
                    del scores["watch"]
                    failed = {"watch": "broken | <b>\nhere"}
                values: dict[str, Any] = {"scores": scores, "failed": failed, "pictures": 2}
                rows.append(Row(method, prompt.id, prompt.text, seed, 1, "x", seconds=0.25, **values))
    plain = {prompt.id: DFPrompt.from_plain(prompt.text) for prompt in PROMPTS}
    styled = {p.id: d for p, d in zip(PROMPTS, Styled().rewrite(PROMPTS, 0), strict=True) if d}
    plan = Plan(
        PROMPTS,
        [Plain(), Styled("a|b"), Plain("third", "=1+1")],
        [0, 1],
        Scoreboard({"light": brightness}, {"watch": redness}),
    )
    rewrites = {"plain": Rewrites(plain), "a|b": Rewrites(styled, {}, 1.5), "third": Rewrites(plain)}
    return Outcome(plan, folder, tuple(rows), rewrites)


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarize(_outcome(tmp_path_factory.mktemp("outcome")), distances={"a|b": 1.25})


def test_means_and_differences_are_those_of_the_rows(summary: Summary) -> None:
    for method in NAMES:
        for score in ("light", "watch"):
            line = summary.of(method, score)
            kept = {
                (prompt.id, seed): VALUES[method, prompt.id, seed, score]
                for prompt in PROMPTS
                for seed in (0, 1)
                if score == "light" or (method, prompt.id, seed) != MISSING
            }
            per_prompt = [
                np.mean([value for (name, _), value in kept.items() if name == p.id]) for p in PROMPTS
            ]
            assert line.mean == pytest.approx(np.mean(per_prompt))
            plain_of_pairs = [
                np.mean([VALUES["plain", *key, score] for key in kept if key[0] == p.id]) for p in PROMPTS
            ]
            if line.comparison:
                assert line.comparison.baseline_mean == pytest.approx(np.mean(plain_of_pairs))
                assert line.comparison.won + line.comparison.tied + line.comparison.lost == len(kept)
            assert (line.rows, line.failed) == (6, 6 - len(kept))
            plain = {
                key: VALUES["plain", *key, score] for key in ((p.id, s) for p in PROMPTS for s in (0, 1))
            }
            expected = None if method == "plain" else compare_scores(kept, plain)
            assert line.comparison == expected
    assert summary.of("third", "watch").comparison.pairs == 5  # type: ignore[union-attr]


def test_holm_covers_every_comparison_once(summary: Summary) -> None:
    tested = [line for line in summary.scores if line.comparison]
    assert summary.comparisons == len(tested) == 4
    assert [line.adjusted_p for line in tested] == adjust_holm([line.comparison.p for line in tested])  # type: ignore[union-attr]
    assert [line.adjusted_p for line in summary.scores if line.method == "plain"] == [None, None]


def test_cost_diversity_and_failures(summary: Summary) -> None:
    plain, styled, third = summary.methods
    assert (styled.pictures, styled.drawing_seconds, styled.rewriting_seconds) == (12, 1.5, 1.5)
    assert (styled.diversity.distinct, styled.diversity.self_similarity) == (1, pytest.approx(1))
    assert styled.diversity.default_share == 0
    assert plain.diversity.unchanged_share == 1
    assert (styled.cmmd, plain.cmmd) == (1.25, None)
    assert (third.failed, len(summary.failures)) == (1, 1)
    assert (summary.failures[0].method, summary.failures[0].what, summary.failures[0].rows) == (
        "third",
        "watch",
        1,
    )


def test_csv_reads_back_to_the_same_numbers(summary: Summary) -> None:
    rows = list(csv.DictReader(io.StringIO(format_scores_csv(summary))))
    assert [(row["method"], row["score"], row["role"]) for row in rows] == [
        (line.method, line.score, line.role) for line in summary.scores
    ]
    for row, line in zip(rows, summary.scores, strict=True):
        assert float(row["mean"]) == line.mean
        found = line.comparison
        if found is None:
            assert row["difference"] == row["p_holm"] == row["pairs"] == ""
        else:
            assert (float(row["difference"]), float(row["low"]), float(row["high"])) == (
                found.difference,
                *found.interval,
            )
            assert (float(row["win_rate"]), float(row["p"]), float(row["p_holm"])) == (
                found.win_rate,
                found.p,
                line.adjusted_p,
            )
            counts = [int(row[name]) for name in ("won", "tied", "lost")]
            assert counts == [found.won, found.tied, found.lost]
            assert float(row["plain_mean"]) == found.baseline_mean
            assert (int(row["prompts"]), int(row["pairs"]), row["units"]) == (3, found.pairs, "prompts")
    methods = list(csv.DictReader(io.StringIO(format_methods_csv(summary))))
    assert methods[1]["cmmd"] == "1.25"
    assert methods[0]["self_similarity"] == ""
    assert methods[2]["definition"] == "'=1+1"  # no spreadsheet runs it


def test_markdown_tables_are_whole(summary: Summary) -> None:
    text = format_markdown(summary, title="On <mini>", note="A note.")
    assert text.startswith("# On \\<mini>\n\nA note.\n")
    tables: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.startswith("|"):
            tables[-1].append(line)
        elif tables[-1]:
            tables.append([])
    widths = [{line.replace("\\|", "").count("|") for line in table} for table in tables if table]
    assert len(widths) == 5  # two scores, diversity, cost, failures
    assert all(len(width) == 1 for width in widths)
    line = summary.of("a|b", "light")
    assert line.comparison is not None
    shown = format_number(line.comparison.difference, sign=True)
    plain = format_number(line.comparison.baseline_mean or 0)
    assert f"| a\\|b | {format_number(line.mean or 0)} | {plain} | {shown} (" in text
    assert "| won | tied | lost | p (Holm) |" in text
    counts = (line.comparison.won, line.comparison.tied, line.comparison.lost)
    assert f"| {' | '.join(map(str, counts))} | " in text
    assert "broken \\| \\<b> here" in text
    assert "Holm over 4 comparisons" in text
    assert "judge: never optimised" in text


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0.0000"), (1234.5, "1234.5000"), (-0.001, "-0.0010"), (2.5e-7, "2.5e-07")],
)
def test_numbers(value: float, shown: str) -> None:
    assert format_number(value) == shown


def test_too_little_for_an_interval_is_said(tmp_path: Path) -> None:
    outcome = _outcome(tmp_path)
    plan = Plan(PROMPTS[:1], outcome.plan.methods, [0], outcome.plan.scoreboard)
    rows = tuple(row for row in outcome.rows if (row.prompt_id, row.seed) == (PROMPTS[0].id, 0))
    summary = summarize(Outcome(plan, tmp_path, rows, outcome.rewrites))
    found = summary.of("third", "light").comparison
    assert found is not None
    assert math.isnan(found.interval.low)
    assert "too few for an interval" in format_markdown(summary)
    assert "nan" not in format_scores_csv(summary) + format_markdown(summary)


def test_files_are_written(summary: Summary, tmp_path: Path) -> None:
    paths = write_tables(summary, tmp_path / "tables", title="T")
    assert [path.name for path in paths] == ["results.md", "scores.csv", "methods.csv", "results.tex"]
    assert all(path.read_text().strip() for path in paths)


def test_means_of_a_method_that_lacks_a_prompt_are_of_its_own_prompts(tmp_path: Path) -> None:
    outcome = _outcome(tmp_path)
    lacking = tuple(
        replace(row, scores={}, failed={"method": "no rewrite"})
        if (row.method, row.prompt_id) == ("a|b", PROMPTS[0].id)
        else row
        for row in outcome.rows
    )
    line = summarize(replace(outcome, rows=lacking)).of("a|b", "light")
    assert line.comparison is not None
    assert line.mean is not None
    means = {
        name: np.mean([VALUES[name, p.id, seed, "light"] for p in PROMPTS[1:] for seed in (0, 1)])
        for name in ("plain", "a|b")
    }
    assert line.comparison.baseline_mean == pytest.approx(means["plain"])
    assert line.mean == pytest.approx(means["a|b"])
    assert line.mean - means["plain"] == pytest.approx(line.comparison.difference)


def test_a_metric_is_added_in_one_place(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    letters = Metric("letters", lambda line: len(line.method), "letters", "cost")
    monkeypatch.setattr(tables, "METHOD_METRICS", (*tables.METHOD_METRICS, letters))
    assert "| letters |" in format_markdown(summary)
    rows = list(csv.DictReader(io.StringIO(format_methods_csv(summary))))
    assert [row["letters"] for row in rows] == [str(len(line.method)) for line in summary.methods]
