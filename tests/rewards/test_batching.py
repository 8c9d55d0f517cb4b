"""Rows in slices that fit, halved when they do not."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import RewardError
from dfprompt.rewards.batching import map_rows, rows_that_fit


@given(rows=st.integers(1, 40), at_once=st.integers(1, 50))
def test_every_row_is_computed_once_in_order(rows: int, at_once: int) -> None:
    data = torch.arange(rows)
    seen: list[int] = []

    def compute(part: slice) -> torch.Tensor:
        seen.append(part.stop - part.start)
        return data[part] * 2

    assert torch.equal(map_rows(compute, rows, at_once), data * 2)
    assert max(seen) <= at_once
    assert sum(seen) == rows


@given(rows=st.integers(1, 40), fits=st.integers(1, 8))
def test_out_of_memory_halves_and_loses_nothing(rows: int, fits: int) -> None:
    data = torch.arange(rows)

    def compute(part: slice) -> torch.Tensor:
        if part.stop - part.start > fits:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return data[part]

    assert torch.equal(map_rows(compute, rows, 64), data)


def test_one_row_that_does_not_fit_is_an_error() -> None:
    def compute(part: slice) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RewardError, match="one picture at a time"):
        map_rows(compute, 3, 2)


def test_other_errors_are_not_swallowed() -> None:
    def compute(part: slice) -> torch.Tensor:
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        map_rows(compute, 3, 2)


def test_on_a_cpu_slices_stay_in_the_cache_but_never_below_four() -> None:
    cpu = torch.device("cpu")
    assert rows_that_fit(2**40, cpu) == 4
    assert rows_that_fit(2**23, cpu) == 4
    assert rows_that_fit(2**20, cpu) == 16
    assert rows_that_fit(1, cpu) == 256


def test_on_a_gpu_half_of_the_free_memory_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (2**30, 2**34))
    gpu = torch.device("cuda")
    assert rows_that_fit(2**28, gpu) == 2
    assert rows_that_fit(2**30, gpu) == 1
    assert rows_that_fit(2**20, gpu) == 256
