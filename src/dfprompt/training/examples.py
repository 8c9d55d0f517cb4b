"""Rows of stage 1: a short prompt, the modifiers a person appended, and whether they passed the filter."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.storage import parse_lines


@dataclass(frozen=True)
class Example:
    """One prompt of the data: rows that failed the filter (`kept` false) train to end at once."""

    short: str
    modifiers: tuple[str, ...]
    kept: bool = True


def read_examples(path: Path) -> list[Example]:
    """The rows of a JSONL file with "short", "modifiers" and "kept" (true where it is missing).

    Raises InputError naming file and line.
    """
    return parse_lines(path, _read, none="no rows", most=None)


def _read(line: str) -> Example:
    try:
        row: Any = json.loads(line)
        short, modifiers, kept = row["short"], row["modifiers"], row.get("kept", True)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f'expected {{"short": "...", "modifiers": [...], "kept": true}}, got {quote(line)}'
        ) from error
    texts = [short, *modifiers] if isinstance(modifiers, list) else [None]
    if not all(isinstance(text, str) for text in texts) or not isinstance(kept, bool):
        raise InputError('"short" must be text, "modifiers" texts, "kept" true or false')
    return Example(short, tuple(modifiers), kept)


class RowOrder:
    """Which example stands at each running number: a function of the seed, so a resumed run needs no state.

    An epoch holds every kept example once, and rejected ones in the share asked for (each at most
    once an epoch), shuffled together.

    >>> order = RowOrder([True, True, False], rejected_share=0.3, seed=0)
    >>> sorted(order.at(position) for position in range(6))
    [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, kept: Sequence[bool], *, rejected_share: float, seed: int) -> None:
        flags = np.asarray(kept, dtype=bool)
        self._kept, self._rejected = np.flatnonzero(flags), np.flatnonzero(~flags)
        if not len(self._kept):
            raise InputError("no example passed the filter, so there is nothing to learn; loosen the filter")
        wanted = round(len(self._kept) * rejected_share / (1 - rejected_share))
        self.rejected_per_epoch = min(wanted, len(self._rejected))
        self.epoch_size = len(self._kept) + self.rejected_per_epoch
        self.seed = seed
        self._epoch: tuple[int, np.ndarray] | None = None

    def at(self, position: int) -> int:
        """The example at a running number, counted from the beginning of training over all epochs."""
        epoch, at = divmod(position, self.epoch_size)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        return int(self._epoch[1][at])

    def _shuffled(self, epoch: int) -> np.ndarray:
        generator = np.random.default_rng([self.seed, epoch])
        some = generator.permutation(self._rejected)[: self.rejected_per_epoch]
        return generator.permutation(np.concatenate([self._kept, some]))
