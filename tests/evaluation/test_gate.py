"""The gate: probes from an evaluation's rows, by hand; a threshold that holds; what cannot be calibrated."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConfigError
from dfprompt.evaluation.gate import measure_curve, read_probes
from dfprompt.measurement.rows import Row


def rows(losses: list[tuple[float, ...]], method: str = "policy") -> list[Row]:
    """A plain picture that shows all, and the method's, for each prompt and seed."""
    made = []
    for prompt, own in enumerate(losses):
        for seed, loss in enumerate(own):
            made.append(Row("plain", f"p{prompt:04}", "a cat", seed, scores={"fidelity": 1.0}))
            made.append(Row(method, f"p{prompt:04}", "a cat", seed, scores={"fidelity": 1.0 - loss}))
    return made


def test_the_first_picture_is_the_probe_and_the_second_says_what_was_lost() -> None:
    given = rows([(0.0, 0.25), (0.5, 0.0, 1.0), (-0.25, 0.0)])
    found = read_probes(given, "policy", "fidelity")
    assert [(each.probe, each.other, each.lost) for each in found] == [
        (0.0, 0.25, True), (0.5, 0.0, False), (-0.25, 0.0, False),
    ]  # fmt: skip


def test_prompts_with_a_picture_missing_or_not_judged_are_left_out() -> None:
    given = rows([(0.0, 0.0), (0.5,), (0.0, 0.0)])
    given = [row for row in given if (row.prompt_id, row.method, row.seed) != ("p0002", "plain", 0)]
    assert [each.prompt_id for each in read_probes(given, "policy", "fidelity")] == ["p0000"]
    assert read_probes(given, "policy", "other") == []


def test_a_probe_that_shows_a_loss_leaves_the_prompt_alone() -> None:
    """400 prompts: a loss on the probe foretells one in half of the cases, none on it foretells none."""
    given = rows([(0.0, 0.0)] * 360 + [(0.25, 0.25)] * 20 + [(0.25, 0.0)] * 20)
    found = measure_curve(given, "policy", "fidelity").choose(0.02)
    assert (found.threshold, found.accepted, found.lost) == (0.0, 360, 0)
    assert found.coverage == 0.9
    assert found.bound < 0.02
    assert measure_curve(given, "policy", "fidelity").choose(0.1).threshold == 0.25
    assert measure_curve(given[:400], "policy", "fidelity").choose(0.02).threshold is None, "too few prompts"


def test_the_curve_rises_in_both() -> None:
    curve = measure_curve(rows([(0, 0), (0.25, 0.5), (0.5, 0), (1, 1)]), "policy", "fidelity")
    assert curve.points == ((0.0, 1, 0), (0.25, 2, 1), (0.5, 3, 1), (1.0, 4, 2))
    assert (curve.judge, curve.total) == ("fidelity", 4)


def test_a_share_of_three_is_one_threshold_however_it_was_rounded() -> None:
    thirds = [(1 - 2 / 3, 0.0), (1 / 3, 0.0), (0.3333333, 1 / 3)]
    assert measure_curve(rows(thirds), "policy", "fidelity").points == ((0.333333, 3, 1),)


def test_an_evaluation_without_two_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="two pictures"):
        measure_curve(rows([(0.0,)] * 400), "policy", "fidelity")
