"""Batches whose failures stay with their items, and warnings said once."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import DFPromptWarning, RewardError, each_warning_once
from dfprompt.measurement.isolation import attempt


@given(st.integers(0, 20), st.sets(st.integers(0, 19)))
def test_only_the_bad_items_fail(count: int, bad: set[int]) -> None:
    def work(items: Sequence[int]) -> list[int]:
        if found := sorted(bad & set(items)):
            raise RewardError(f"bad: {found}")
        return [10 * item for item in items]

    for item, result in enumerate(attempt(work, range(count))):
        if item in bad:
            assert str(result) == f"bad: [{item}]"
        else:
            assert result == 10 * item


def test_a_good_batch_is_worked_on_once() -> None:
    calls = []
    attempt(lambda items: calls.append(len(items)) or list(items), range(9))
    assert calls == [9]


def test_other_errors_are_nobodys_failure() -> None:
    with pytest.raises(ZeroDivisionError):
        attempt(lambda items: [1 // item for item in items], [1, 0])


def test_our_warnings_are_said_once() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with each_warning_once():
            for _ in range(3):
                warnings.warn("ours", DFPromptWarning, stacklevel=1)
                warnings.warn("theirs", UserWarning, stacklevel=1)
    assert [str(each.message) for each in caught].count("ours") == 1
    assert [str(each.message) for each in caught].count("theirs") == 3
