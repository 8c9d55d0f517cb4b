"""Plain pictures' scores: each drawn once, of any shape, and never lost to a full memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dfprompt.measurement.plain import PlainScores


class Painter:
    """Counts what is asked for; the score of a key is ten times the key, once per seed."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.records: list[Any] = []

    def __call__(self, keys: Sequence[int], records: Sequence[Any]) -> dict[str, Tensor]:
        self.asked.append(list(keys))
        self.records += records
        return {"clip": torch.tensor([[10.0 * key, 0.1] for key in keys])}


def test_each_plain_picture_is_measured_once_with_its_first_rows_record() -> None:
    painter = Painter()
    plain = PlainScores(painter)
    found = plain.columns([3, 1, 3], [{"row": 0}, {"row": 1}, {"row": 2}])
    assert torch.equal(found["clip"], torch.tensor([[30.0, 0.1], [10.0, 0.1], [30.0, 0.1]]))
    assert plain.columns([1, 2])["clip"][:, 0].tolist() == [10.0, 20.0]
    assert painter.asked == [[3, 1], [2]]
    assert painter.records == [{"row": 0}, {"row": 1}, {}]
    assert plain.columns([]) == {}


def test_a_full_memory_forgets_and_measures_what_it_needs_again() -> None:
    """A call that asks for kept and new pictures at once must not lose the kept ones."""
    painter = Painter()
    plain = PlainScores(painter, most=3)
    plain.columns([1, 2, 3])
    assert plain.columns([3, 4])["clip"][:, 0].tolist() == [30.0, 40.0]
    assert painter.asked == [[1, 2, 3], [3, 4]]
    assert plain.columns([5, 6, 7, 8])["clip"][:, 0].tolist() == [50.0, 60.0, 70.0, 80.0], (
        "more than it keeps"
    )


def test_many_are_measured_a_few_at_a_time_and_told() -> None:
    painter, told = Painter(), []
    PlainScores(painter).columns([1, 2, 2, 3], at_once=2, progress=lambda done, of: told.append((done, of)))
    assert painter.asked == [[1, 2], [3]]
    assert told == [(2, 3), (3, 3)]
