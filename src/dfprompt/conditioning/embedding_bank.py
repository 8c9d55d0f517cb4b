"""The bank of a compiled batch: distinct encodings, each made when a step first asks for it.

A ramp passes through as many weights as there are steps. Kept all at once they would fill an
accelerator (512 FLUX tokens in bfloat16 are 4 MB, each), so weighted encodings are made anew from
the text's one encoding, which is a cheap tensor operation, and only the last ones are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

Entry = dict[str, Tensor]
_MODEL = -1  # any entry that is not silent, whose names and shapes the silent ones take


@dataclass(frozen=True)
class TokenWeights:
    """Distinct weights of the tokens that the denoiser hears, for the rule `attention`.

    `rows` has one weight per token of a text, `entries` says which row each conditioning has.
    """

    rows: tuple[tuple[float, ...], ...]
    entries: tuple[int, ...]

    @cached_property
    def plain(self) -> frozenset[int]:
        """The rows whose weights are all 1."""
        return frozenset(number for number, row in enumerate(self.rows) if set(row) <= {1.0})

    def take(self, entries: Sequence[int]) -> Tensor:
        """Return the weights (R,T) of these rows, on the CPU, as long as the longest; padding weighs 1."""
        longest = max(len(self.rows[entry]) for entry in entries)
        return torch.tensor([_lengthen(self.rows[entry], longest) for entry in entries])


def _lengthen(row: tuple[float, ...], length: int) -> list[float]:
    return [*row, *[1.0] * (length - len(row))]


@dataclass(eq=False)
class Bank:
    """E distinct encodings of the conditionings of a batch, made on demand.

    `make` returns an entry, tensor by name, None for silence; `stack` joins some of them into the
    pipeline's tensors; `weighted` are the entries whose weights are not all 1. `entries` says which
    entry each conditioning has: texts that come to the same tokens and weights share one. `windows`
    counts each conditioning's windows before padding; `forwards` and `encoded` how often each
    encoder ran and how many windows it read; `lost` the end of each text that was cut off.
    `token_weights` are those of the rule `attention`, None under other rules.
    """

    make: Callable[[int], Entry | None]
    stack: Callable[[Sequence[Entry]], Entry]
    weighted: frozenset[int]
    entries: tuple[int, ...]
    windows: tuple[int, ...]
    forwards: tuple[int, ...]
    encoded: tuple[int, ...]
    lost: dict[str, str]
    token_weights: TokenWeights | None = None
    _plain: dict[int, Entry] = field(default_factory=dict)
    _recent: tuple[dict[int, Entry], ...] = ({}, {})

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the tensors."""
        return tuple(self._model)

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the sequences."""
        return self._model["prompt_embeds"].dtype

    def take(self, entries: Sequence[int]) -> Entry:
        """Return the tensors of these entries, row by row."""
        with torch.no_grad():
            made = {number: self._get(number) for number in dict.fromkeys(entries)}
            # Two sides, positive and negative, of one step.
            kept = {number: entry for number, entry in made.items() if number in self.weighted}
            self._recent = (self._recent[1], kept) if kept else self._recent
            return self.stack([made[number] for number in entries])

    def differ(self, name: str, one: int, other: int) -> bool:
        """Whether two entries have different tensors of this name."""
        return not torch.equal(self._get(one)[name], self._get(other)[name])

    @property
    def _model(self) -> Entry:
        if _MODEL not in self._plain:
            spoken = (entry for entry in map(self.make, dict.fromkeys(self.entries)) if entry is not None)
            self._plain[_MODEL] = next(spoken)
        return self._plain[_MODEL]

    def _get(self, number: int) -> Entry:
        for kept in (self._plain, *self._recent):
            if number in kept:
                return kept[number]
        made = self.make(number)
        if made is None:
            made = {name: torch.zeros_like(tensor) for name, tensor in self._model.items()}
        if number not in self.weighted:
            self._plain[number] = made
        return made
