"""Who sees what: every pair equally often, sides balanced for every person and pair."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import StudyError
from dfprompt.study.schedule import balance_sides, order_trials, share_out


@given(st.data())
def test_everything_is_balanced_within_one(data: st.DataObject) -> None:
    pairs = data.draw(st.integers(1, 40))
    each = data.draw(st.integers(1, pairs))
    people = data.draw(st.integers(1, 30))
    hands = share_out(pairs, people, each, data.draw(st.integers(0, 99)))
    assert all(len(hand) == len(set(hand)) == each for hand in hands)
    seen = Counter(pair for hand in hands for pair in hand)
    counts = [seen[pair] for pair in range(pairs)]
    assert max(counts) - min(counts) <= 1
    sides = balance_sides(hands, pairs)
    assert set(sides) == {(person, pair) for person, hand in enumerate(hands) for pair in hand}
    for place in (0, 1):
        left: Counter[int] = Counter()
        for key, first_left in sides.items():
            left[key[place]] += 1 if first_left else -1
        assert all(abs(difference) <= 1 for difference in left.values())


def test_every_prefix_of_people_is_balanced_too() -> None:
    hands = share_out(7, 50, 5, seed=3)
    seen: Counter[int] = Counter(dict.fromkeys(range(7), 0))
    for hand in hands:
        seen.update(hand)
        assert max(seen.values()) - min(seen.values()) <= 1


def test_nobody_sees_a_pair_twice() -> None:
    with pytest.raises(StudyError, match="6 different pairs of 5"):
        share_out(5, 1, 6, 0)


@pytest.mark.parametrize("each", [2, 3, 10, 25])
def test_repeats_come_late_and_controls_never_first(each: int) -> None:
    repeats = max(1, each // 2)
    hand = list(range(100, 100 + each))
    for seed in range(20):
        trials = order_trials(hand, [1, 2], repeats, [7, 8], np.random.default_rng(seed))
        assert trials[:2] == [("practice", 1), ("practice", 2)]
        assert trials[2][0] == "main"
        assert [pair for kind, pair in trials if kind == "main"] == hand
        assert sorted(pair for kind, pair in trials if kind == "gold") == [7, 8]
        again = [pair for kind, pair in trials if kind == "repeat"]
        assert len(set(again)) == repeats
        for pair in again:
            between = trials[trials.index(("main", pair)) + 1 : trials.index(("repeat", pair))]
            assert len(between) >= each // 2
