"""Which rows of a batch are the same computation so far: a tree that branches where they first differ."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple


class Level(NamedTuple):
    """The distinct computations at one evaluation.

    `rows[g]` is a row (the first) that stands for computation g; `parents[g]` is the computation of
    the evaluation before that it goes on from; `group_of[row]` is each row's computation.
    """

    rows: tuple[int, ...]
    parents: tuple[int, ...]
    group_of: tuple[int, ...]


def share_rows(noises: Sequence[Hashable], hears: Sequence[Sequence[Hashable]]) -> list[Level]:
    """Return the distinct computations at each evaluation of a batch of rows.

    `noises[row]` says which noise a row starts from, `hears[row][k]` what it hears at evaluation k
    (all of one length). Rows stay one computation as long as all of it is equal; once apart, they never meet
    again, because their pictures have parted. Parents of the first level are the level's own numbers.

    >>> [len(level.rows) for level in share_rows([0, 0, 0], ["aab", "aac", "bbb"])]
    [2, 2, 3]
    """
    evaluations = len(hears[0]) if hears else 0
    before: tuple[Hashable, ...] = tuple(noises)  # what sets rows apart so far
    levels: list[Level] = []
    for k in range(evaluations):
        numbers: dict[Hashable, int] = {}
        rows: list[int] = []
        group_of = []
        for row, so_far in enumerate(before):
            group = numbers.setdefault((so_far, hears[row][k]), len(numbers))
            if group == len(rows):
                rows.append(row)
            group_of.append(group)
        parents = range(len(rows)) if not levels else (levels[-1].group_of[row] for row in rows)
        levels.append(Level(tuple(rows), tuple(parents), tuple(group_of)))
        before = tuple(group_of)
    return levels


def count_evaluations(levels: Sequence[Level]) -> int:
    """Return the number of denoiser evaluations that are made, one for each distinct computation."""
    return sum(len(level.rows) for level in levels)
