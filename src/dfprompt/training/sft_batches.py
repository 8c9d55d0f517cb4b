"""Examples as trajectories: what a person wrote, in the form of something the policy drew.

Training then asks the same function for the probability of the person's words that sampling and
stage 2 use: same grammar, same masks, same positions. Only modifiers count, every row is its own prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dfprompt.policy import Trajectory, Vocabulary
from dfprompt.policy.vocabulary import INSIDE, START
from dfprompt.training.examples import Example, RowOrder


@dataclass(frozen=True)
class EncodedExample:
    """One example in tokens: what is read, and what is to be said (`states` are the grammar's)."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]
    states: tuple[int, ...]
    unsayable: int = 0


@dataclass(frozen=True)
class Wording:
    """How an example is worded: beginning with capitals or not, and which separators stand where."""

    capitalized_share: float = 0.0
    full_stop_share: float = 0.0


def encode_example(
    vocabulary: Vocabulary,
    example: Example,
    *,
    max_new_tokens: int,
    context_size: int | None = None,
    wording: Wording | None = None,
    generator: np.random.Generator | None = None,
) -> EncodedExample:
    """The tokens of an example; one that was rejected says nothing and ends.

    Modifiers the policy may not say are left out and counted; a row that only has such teaches
    nothing. Modifiers that no longer fit are left out too, and then the end is not taught: the person
    did not stop there.
    """
    wording, generator = wording or Wording(), generator or np.random.default_rng(0)
    capital = generator.random() < wording.capitalized_share
    short = _capital(example.short) if capital else example.short
    context = vocabulary.encode_context(short)
    room = max_new_tokens
    if context_size is not None:
        context = context[: max(1, context_size - max_new_tokens)]
        room = min(room, context_size - len(context))
    tokens: list[int] = []
    unsayable, whole = 0, True
    for modifier in example.modifiers if example.kept else ():
        ids = vocabulary.encode_modifier(_capital(modifier) if capital else modifier)
        if ids is None:
            unsayable += 1
            continue
        if len(tokens) + len(ids) + 2 > room:
            whole = False
            break
        stop = generator.random() < wording.full_stop_share
        tokens += [vocabulary.separator_of("." if stop else ","), *ids]
    if whole and (tokens or not unsayable):
        tokens.append(vocabulary.end_id)
    return EncodedExample(tuple(context), tuple(tokens), _states(vocabulary, tokens), unsayable)


class SftBatches:
    """The rows of each optimiser step, encoded: the same for the same seed, whoever asks and when."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        examples: Sequence[Example],
        *,
        batch_size: int,
        rejected_share: float,
        max_new_tokens: int,
        context_size: int | None = None,
        wording: Wording | None = None,
        seed: int = 0,
    ) -> None:
        self.vocabulary, self.examples, self.batch_size, self.seed = vocabulary, examples, batch_size, seed
        self.order = RowOrder([each.kept for each in examples], rejected_share=rejected_share, seed=seed)
        self.wording = wording or Wording()
        self._max_new_tokens, self._context_size = max_new_tokens, context_size
        self._encoded: dict[int, EncodedExample] = {}

    def rows(self, step: int) -> list[EncodedExample]:
        """The rows of a step, counted from 0; a batch may run over the border of two epochs."""
        first = step * self.batch_size
        return [self._row(position) for position in range(first, first + self.batch_size)]

    def encode(self, examples: Sequence[Example]) -> list[EncodedExample]:
        """Other examples as they are written, such as those to validate on."""
        return [self._encode(example, Wording(), None) for example in examples]

    def _row(self, position: int) -> EncodedExample:
        number = self.order.at(position)
        if number in self._encoded:
            return self._encoded[number]
        generator = np.random.default_rng([self.seed, 1, position])
        row = self._encode(self.examples[number], self.wording, generator)
        if self.wording == Wording():  # otherwise the row is worded anew each time
            self._encoded[number] = row
        return row

    def _encode(
        self, example: Example, wording: Wording, generator: np.random.Generator | None
    ) -> EncodedExample:
        return encode_example(
            self.vocabulary,
            example,
            max_new_tokens=self._max_new_tokens,
            context_size=self._context_size,
            wording=wording,
            generator=generator,
        )


def collate(
    vocabulary: Vocabulary, rows: Sequence[EncodedExample], device: torch.device | str = "cpu"
) -> Trajectory:
    """A batch of rows as a trajectory without controls and without log-probabilities of its own."""
    width = max(len(row.context) for row in rows)
    length = max(1, *(len(row.tokens) for row in rows))  # rows may all teach nothing
    context = [[vocabulary.end_id] * (width - len(row.context)) + list(row.context) for row in rows]
    there = [[0] * (width - len(row.context)) + [1] * len(row.context) for row in rows]
    token_mask = _right([[True] * len(row.tokens) for row in rows], length, False, device)
    nothing = torch.zeros(token_mask.shape, dtype=torch.long, device=device)
    silent = torch.zeros(token_mask.shape, dtype=torch.float32, device=device)
    return Trajectory(
        control="none",
        context_ids=torch.tensor(context, device=device),
        context_mask=torch.tensor(there, device=device),
        tokens=_right([list(row.tokens) for row in rows], length, vocabulary.end_id, device),
        token_mask=token_mask,
        states=_right([list(row.states) for row in rows], length, INSIDE, device),
        text_mask=token_mask,
        control_mask=torch.zeros_like(token_mask),
        range_ids=nothing,
        weight_ids=nothing,
        text_logprobs=silent,
        range_logprobs=silent,
        weight_logprobs=silent,
        range_allowed=torch.ones((len(rows), 1), dtype=torch.bool, device=device),
        phrases=((),) * len(rows),
        ends=("end",) * len(rows),
    )


def _states(vocabulary: Vocabulary, tokens: Sequence[int]) -> tuple[int, ...]:
    states, state = [], START
    for token in tokens:
        states.append(state)
        state = vocabulary.follow(state, token)
    return tuple(states)


def _right(
    rows: Sequence[list[int] | list[bool]], width: int, fill: int, device: torch.device | str
) -> Tensor:
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows], device=device)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
