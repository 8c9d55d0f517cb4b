"""Learn then test: exact tails, hand-worked choices, and a bound that holds in simulated calibrations."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from dfprompt.errors import ConfigError
from dfprompt.statistics.risk import Choice, RiskCurve, binomial_tail, make_curve, read_curve, risk_bound


def choose_threshold(scores: list[float], lost: list[bool], limit: float) -> Choice:
    return make_curve(scores, lost, "fidelity").choose(limit)


@pytest.mark.parametrize(("count", "total", "risk"), [(0, 7, 0.1), (3, 7, 0.4), (6, 7, 0.9), (2, 300, 0.02)])
def test_the_tail_is_the_sum_of_binomial_terms(count: int, total: int, risk: float) -> None:
    terms = [math.comb(total, k) * risk**k * (1 - risk) ** (total - k) for k in range(count + 1)]
    assert binomial_tail(count, total, risk) == pytest.approx(sum(terms), rel=1e-9)


def test_the_bound_is_where_the_tail_is_the_error() -> None:
    for count, total in ((0, 50), (2, 300), (49, 50)):
        assert binomial_tail(count, total, risk_bound(count, total, 0.05)) == pytest.approx(0.05, rel=1e-6)
    assert risk_bound(0, 149, 0.05) < 0.02 < risk_bound(0, 148, 0.05) + 3e-5
    assert risk_bound(50, 50, 0.05) == 1.0


def test_a_threshold_is_the_boldest_before_the_first_that_is_not_safe() -> None:
    """Of 400 nothing is lost up to 1, five of the next fifty; what follows is clean and never reached."""
    scores = [0.0] * 200 + [1.0] * 100 + [2.0] * 50 + [3.0] * 50
    lost = [False] * 300 + [True] * 5 + [False] * 95
    found = choose_threshold(scores, lost, 0.02)
    assert (found.threshold, found.accepted, found.lost) == (1.0, 300, 0)
    assert found.coverage == 0.75
    assert found.bound == pytest.approx(1 - 0.05 ** (1 / 400), rel=1e-6)
    bolder = choose_threshold(scores, lost, 0.05)
    assert (bolder.threshold, bolder.lost) == (3.0, 5)


def test_too_few_prompts_are_safe_at_no_threshold() -> None:
    assert choose_threshold([0.0] * 100, [False] * 100, 0.02).threshold is None
    assert choose_threshold([0.0] * 150, [False] * 150, 0.02).threshold == 0.0


@pytest.mark.nightly
def test_the_bound_holds_in_simulated_calibrations() -> None:
    """1,000 calibrations of 300 prompts in a world whose true risks are known, hard at the limit.

    A probe's score is uniform; the other picture is lost with a probability that rises with it, so that the
    true risk of accepting up to t is t * t / 20, at the limit of 2 % for t = 0.632. The chosen threshold is
    beyond that in at most 5 % of the calibrations; and it is not so timid that this says nothing.
    """
    generator = np.random.default_rng(20)
    broken, covered = 0, []
    for _ in range(1000):
        scores = np.round(generator.random(300), 2)
        lost = generator.random(300) < scores / 10
        found = choose_threshold(scores.tolist(), lost.tolist(), 0.02)
        risk = 0.0 if found.threshold is None else found.threshold**2 / 20
        broken += risk > 0.02
        covered.append(found.coverage)
    assert broken <= 50
    assert broken > 0, "a bound that never breaks was not tested"
    assert np.mean(covered) > 0.25


@pytest.mark.parametrize(
    ("scores", "lost", "limit", "said"),
    [
        ([], [], 0.02, "as many"),
        ([0.0], [True, False], 0.02, "as many"),
        ([0.0], [True], 0.0, "risk must be above 0"),
        ([0.0], [True], 1.5, "risk must be above 0"),
        ([math.nan], [True], 0.02, "no number"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(
    scores: list[float], lost: list[bool], limit: float, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        choose_threshold(scores, lost, limit)


def test_a_curve_is_kept_as_it_was() -> None:
    curve = make_curve([0.5, 0.0, 0.0, 1.0], [True, False, False, True], "fidelity")
    assert curve.points == ((0.0, 2, 0), (0.5, 3, 1), (1.0, 4, 2))
    assert read_curve(json.loads(json.dumps(curve.to_json()))) == curve


@pytest.mark.parametrize(
    "given",
    [
        None,
        {"judge": "fidelity", "total": 3},
        {"judge": "fidelity", "total": 3, "points": []},
        {"judge": "fidelity", "total": 3, "points": [[0.0, 2, 3]]},
        {"judge": "fidelity", "total": 3, "points": [[0.0, 4, 0]]},
        {"judge": "fidelity", "total": 3, "points": [[0.5, 2, 0], [0.0, 3, 0]]},
        {"judge": "fidelity", "total": 3, "points": [[math.inf, 2, 0]]},
        {"judge": "fidelity", "total": 3, "points": [[0.0, 2.5, 0]]},
        {"judge": "", "total": 3, "points": [[0.0, 2, 0]]},
    ],
)
def test_what_is_no_curve_is_refused(given: object) -> None:
    with pytest.raises(ConfigError, match="curve"):
        read_curve(given)


def test_the_interval_of_the_coverage_is_that_of_a_binomial_share() -> None:
    """Both ends by the other tail: 280 of 300 and more has 2.5 % at the low end, so has 280 and fewer."""
    found = RiskCurve("fidelity", 300, ((0.0, 280, 0),)).choose(0.02)
    low, high = found.coverage_interval
    assert 1 - binomial_tail(279, 300, low) == pytest.approx(0.025, rel=1e-6)
    assert binomial_tail(280, 300, high) == pytest.approx(0.025, rel=1e-6)
    assert low < found.coverage < high
