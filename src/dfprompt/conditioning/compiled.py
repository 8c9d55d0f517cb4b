"""A compiled batch: the bank of encodings, and per row and step an index into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import Bank, TextAdapter
from dfprompt.conditioning.schedule import Schedule
from dfprompt.prompt.plan import Plan

Key = tuple[int, int]


@dataclass(frozen=True)
class Compiled:
    """A batch of R prompts, ready for a run of S denoiser evaluations.

    `at(k)` gives the tensors of evaluation k (0..S-1, counted from the first one that is really
    made), `key(row, k)` a hashable that is equal for two (row, evaluation) pairs of this object
    exactly when they hear the same thing: rows that share noise may share a computation as long as
    their keys are equal. `changes(k)` says whether any row hears something else than at k - 1.
    `steps[k]` is the step (0..N-1) evaluation k belongs to.

    Tensor names and shapes (R rows, T tokens, D width, P pooled width): `prompt_embeds` (R,T,D),
    `pooled_prompt_embeds` (R,P) where the family has one, `prompt_embeds_mask` (R,T) for Qwen-Image;
    with `negative_` before the name for the negative prompt, absent where there is none (FLUX and
    Qwen-Image without a negative prompt). They are copies: writing into them harms nobody.

    >>> # compiled = compile_prompts(adapter_for(pipe), ["a cat", "a dog, [snow:late]"], None, schedule)
    >>> # unet(latents, t, encoder_hidden_states=compiled.at(0)["prompt_embeds"])
    """

    adapter: TextAdapter
    schedule: Schedule
    plans: tuple[Plan, ...]
    negative_plans: tuple[Plan, ...]
    bank: Bank
    positive: tuple[tuple[int, ...], ...]
    negative: tuple[tuple[int, ...], ...]

    @property
    def rows(self) -> int:
        """The number of prompts, R."""
        return len(self.positive)

    @property
    def evaluations(self) -> int:
        """The number of denoiser evaluations, S."""
        return self.schedule.evaluations

    @property
    def steps(self) -> tuple[int, ...]:
        """The step (0..N-1) of each evaluation that is made."""
        return self.schedule.steps[self.schedule.begin :]

    def key(self, row: int, evaluation: int) -> Key:
        """Return what a row hears at an evaluation, as two numbers: positive and negative (-1: none)."""
        negative = self.negative[row][evaluation] if self.negative else -1
        return self.positive[row][evaluation], negative

    def changes(self, evaluation: int) -> bool:
        """Whether any row hears something else than at the evaluation before (True at the first)."""
        if evaluation == 0:
            return True
        sides = (self.positive, self.negative)
        return any(row[evaluation] != row[evaluation - 1] for side in sides for row in side)

    def at(self, evaluation: int, rows: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Return the tensors of an evaluation, of all rows or of these, in this order."""
        chosen = slice(None) if rows is None else torch.tensor(list(rows), device=self._index[0].device)
        tensors = {}
        for prefix, index in zip(("", "negative_"), self._index, strict=False):
            entries = index[chosen, evaluation]
            for name, bank in self.bank.tensors.items():
                tensors[prefix + name] = bank[entries]
        return self.adapter.trim(tensors)

    def moves(self, name: str, *, negative: bool = False) -> bool:
        """Whether a tensor of the bank changes for any row in the course of the run."""
        bank = self.bank.tensors[name]
        side = self.negative if negative else self.positive
        pairs = {pair for row in side for pair in pairwise(row)}
        return any(first != then and not torch.equal(bank[first], bank[then]) for first, then in pairs)

    @cached_property
    def _index(self) -> list[Tensor]:
        device = next(iter(self.bank.tensors.values())).device
        return [torch.tensor(side, device=device) for side in (self.positive, self.negative) if side]
