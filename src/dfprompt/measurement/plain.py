"""Scores of plain pictures, which many changed ones are compared with: each drawn and scored once."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

Key = TypeVar("Key", bound=Hashable)
Record = Mapping[str, Any]
Measure = Callable[[Sequence[Key], Sequence[Record]], Mapping[str, Tensor]]
"""Draws and scores plain pictures; returns every score with one row (any shape) per picture."""


class PlainScores(Generic[Key]):
    """Remembers the scores of plain pictures by key (a text and its noise, say), `most` of them at the most.

    >>> drawn = []
    >>> plain = PlainScores(lambda keys, records: drawn.extend(keys) or {"clip": torch.tensor(keys)})
    >>> plain.columns([1, 2, 1])["clip"], plain.columns([2, 3])["clip"], drawn
    (tensor([1, 2, 1]), tensor([2, 3]), [1, 2, 3])
    """

    def __init__(self, measure: Measure[Key], most: int | None = None) -> None:
        self._measure, self._most = measure, most
        self._kept: dict[Key, dict[str, Tensor]] = {}

    def columns(
        self,
        keys: Sequence[Key],
        records: Sequence[Record] | None = None,
        *,
        at_once: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Tensor]:
        """Return every score with one row per key, on the CPU; what is new is measured `at_once` a call.

        `records` are the prompt file's other fields, row by row; of equal keys the first row's are taken.
        """
        if self._most is not None and len(self._kept.keys() | set(keys)) > self._most:
            self._kept.clear()
        new: dict[Key, Record] = {}
        for row, key in enumerate(keys):
            if key not in self._kept:
                new.setdefault(key, records[row] if records else {})
        size = at_once or max(1, len(new))
        for start in range(0, len(new), size):
            some = list(new)[start : start + size]
            scores = {
                name: each.cpu() for name, each in self._measure(some, [new[key] for key in some]).items()
            }
            for at, key in enumerate(some):
                self._kept[key] = {name: values[at] for name, values in scores.items()}
            if progress:
                progress(start + len(some), len(new))
        rows = [self._kept[key] for key in keys]
        return {name: torch.stack([row[name] for row in rows]) for name in (rows[0] if rows else ())}
