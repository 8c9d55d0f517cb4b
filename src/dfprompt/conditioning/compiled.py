"""A compiled batch: the bank of encodings, and per row and step an index into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.embedding_bank import Bank
from dfprompt.conditioning.schedule import Schedule
from dfprompt.prompt.plan import Plan

Index = tuple[tuple[int, ...], ...]


class Key(NamedTuple):
    """What a row hears at an evaluation, as numbers of encodings and of token weights; -1 is none."""

    positive: int
    negative: int
    positive_weights: int = -1
    negative_weights: int = -1


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
    positive: Index
    negative: Index
    positive_weights: Index = ()
    negative_weights: Index = ()

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
        """Return what a row hears at an evaluation."""
        sides = (self.positive, self.negative, self.positive_weights, self.negative_weights)
        return Key(*(side[row][evaluation] if side else -1 for side in sides))

    def changes(self, evaluation: int) -> bool:
        """Whether `at` differs for any row from the evaluation before (True at the first)."""
        if evaluation == 0:
            return True
        sides = (self.positive, self.negative)
        return any(row[evaluation] != row[evaluation - 1] for side in sides for row in side)

    def at(self, evaluation: int, rows: Sequence[int] | None = None) -> dict[str, Tensor]:
        """Return the tensors of an evaluation, of all rows or of these, in this order."""
        chosen = range(self.rows) if rows is None else rows
        tensors: dict[str, Tensor] = {}
        for prefix, side in (("", self.positive), ("negative_", self.negative)):
            if side:
                taken = self.bank.take([side[row][evaluation] for row in chosen])
                tensors |= {prefix + name: tensor for name, tensor in taken.items()}
        return tensors

    def token_weights(self, evaluation: int, rows: Sequence[int] | None = None) -> dict[str, Tensor] | None:
        """Return the weight of each token (R,T) at an evaluation, for the rule `attention`.

        `token_weights` and, where there is a negative, `negative_token_weights`; None where all are 1,
        and under other rules.
        """
        table = self.bank.token_weights
        if table is None:
            return None
        chosen = range(self.rows) if rows is None else rows
        sides = {"token_weights": self.positive_weights, "negative_token_weights": self.negative_weights}
        heard = {name: [side[row][evaluation] for row in chosen] for name, side in sides.items() if side}
        if all(entry in table.plain for entries in heard.values() for entry in entries):
            return None
        return {name: table.take(entries) for name, entries in heard.items()}

    @property
    def weighs(self) -> bool:
        """Whether any token of any step has a weight that acts in the denoiser, not in the tensors."""
        table = self.bank.token_weights
        sides = (self.positive_weights, self.negative_weights)
        return table is not None and not {e for side in sides for row in side for e in row} <= table.plain

    def moves(self, name: str, *, negative: bool = False) -> bool:
        """Whether a tensor changes for any row in the course of the run."""
        side = self.negative if negative else self.positive
        pairs = {pair for row in side for pair in pairwise(row)}
        return any(one != other and self.bank.differ(name, one, other) for one, other in pairs)
