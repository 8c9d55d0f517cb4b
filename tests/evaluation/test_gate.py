"""The gate: probes from an evaluation's rows, by hand; a threshold that holds; what cannot be calibrated."""

from __future__ import annotations

import pytest

from dfprompt.errors import ConfigError
from dfprompt.evaluation.gate import calibrate_gate, read_probes, risk_coverage
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
    found = calibrate_gate(given, "policy", "fidelity", 0.02)
    assert (found.threshold, found.accepted, found.lost) == (0.0, 360, 0)
    assert found.coverage == 0.9
    assert found.bound < 0.02
    assert calibrate_gate(given, "policy", "fidelity", 0.1).threshold == 0.25
    assert calibrate_gate(given[:400], "policy", "fidelity", 0.02).threshold is None, "too few prompts"


def test_the_curve_rises_in_both() -> None:
    curve = risk_coverage(read_probes(rows([(0, 0), (0.25, 0.5), (0.5, 0), (1, 1)]), "policy", "fidelity"))
    assert curve == [(0.0, 0.25, 0.0), (0.25, 0.5, 0.25), (0.5, 0.75, 0.25), (1.0, 1.0, 0.5)]


def test_an_evaluation_without_two_pictures_is_refused() -> None:
    with pytest.raises(ConfigError, match="two pictures"):
        calibrate_gate(rows([(0.0,)] * 400), "policy", "fidelity", 0.02)
