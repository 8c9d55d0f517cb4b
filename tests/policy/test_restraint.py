"""The restraint curve: what a number means, curves that are not monotone, files that are none."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConfigError
from dfprompt.policy.restraint import SILENT, Point, Restraint, read_restraint


def point(end_bias: float, reward: float) -> Point:
    return Point(end_bias, reward, (reward - 0.1, reward + 0.1), -0.01, (-0.02, 0.0), 0.1)


CURVE = Restraint((point(0, 2.0), point(2, 1.8), point(4, 1.0), point(6, 0.2)))


def test_a_restraint_is_the_share_of_the_gain_that_is_given_up() -> None:
    assert CURVE.kept() == pytest.approx([1.0, 0.9, 0.5, 0.1])
    assert CURVE.bias(0) == 0
    assert CURVE.bias(0.1) == pytest.approx(2)
    assert CURVE.bias(0.3) == pytest.approx(3), "half way between 0.9 and 0.5"
    assert CURVE.bias(0.9) == pytest.approx(6)
    assert CURVE.bias(1) == SILENT


def test_gains_that_rise_with_the_bias_are_averaged_with_their_neighbours() -> None:
    bumpy = Restraint((point(0, 1.0), point(2, 0.5), point(4, 0.7), point(6, 0.1)))
    assert bumpy.kept() == pytest.approx([1.0, 0.6, 0.6, 0.1])
    better = Restraint((point(0, 1.0), point(2, 1.2), point(4, 0.2)))
    assert better.kept() == pytest.approx([1.1, 1.1, 0.2])
    assert better.bias(0.5) == pytest.approx(2 + 2 * (1.1 - 0.55) / 0.9)


@given(st.lists(st.floats(-1, 3), min_size=1, max_size=6), st.floats(0, 1), st.floats(0, 1))
def test_more_restraint_is_never_a_smaller_bias(rewards: list[float], one: float, two: float) -> None:
    curve = Restraint((point(0, 2.0), *(point(at + 1, each) for at, each in enumerate(rewards))))
    low, high = sorted((one, two))
    assert 0 <= curve.bias(low) <= curve.bias(high) <= SILENT


def test_it_is_the_same_after_a_file() -> None:
    assert read_restraint(json.loads(json.dumps(CURVE.to_json()))) == CURVE


@pytest.mark.parametrize(
    "wrong",
    [None, 3, "x", [], [{}], [{**CURVE.to_json()[0], "reward": "high"}], [{**CURVE.to_json()[0], "end_bias":
    True}],
     CURVE.to_json()[1:], [*CURVE.to_json(), CURVE.to_json()[1]],
     [{**CURVE.to_json()[0], "reward": float("nan")}], [{**CURVE.to_json()[0], "reward": -1.0}]],
)  # fmt: skip
def test_a_file_that_holds_none_is_refused(wrong: object) -> None:
    with pytest.raises(ConfigError):
        read_restraint(wrong)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_restraint_outside_its_range_is_refused(wrong: float) -> None:
    with pytest.raises(ConfigError, match="from 0"):
        CURVE.bias(wrong)
