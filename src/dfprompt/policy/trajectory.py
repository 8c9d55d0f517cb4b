"""What was drawn: token ids, class ids, masks and log-probabilities of a batch, never text to tokenize again.

Shapes: B rows, P context tokens (left-padded), T drawn tokens (right-padded), R ranges, W weights.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from dfprompt.policy.vocabulary import INSIDE

_PER_TOKEN = (
    "tokens",
    "token_mask",
    "states",
    "text_mask",
    "control_mask",
    "range_ids",
    "weight_ids",
    "text_logprobs",
    "range_logprobs",
    "weight_logprobs",
)


@dataclass(frozen=True)
class Phrase:
    """One appended modifier of one row: tokens start..end (its closing token excluded) and its control.

    `dropped` says why it does not reach the text: "" if it does; a ban, "unfinished", "budget".
    """

    start: int
    end: int
    text: str
    range_id: int
    weight_id: int
    dropped: str = ""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A batch of drawn rows.

    context_ids, context_mask (B, P): what the policy read. tokens (B, T): what it drew, the closing
    separators and the end included; token_mask (B, T): which are there. states (B, T): the grammar's
    state each token was drawn in. text_mask (B, T): tokens that were a choice. control_mask (B, T):
    tokens at which a range and a weight were drawn (closing tokens with control "phrase", words with
    "token"); range_ids, weight_ids (B, T): the classes drawn there. *_logprobs (B, T), float32:
    log-probability of each draw at temperature 1 under the masks, 0 where nothing was drawn.
    range_allowed (B, R): classes that could be drawn. tastes (B, N): strength of each taste the model has,
    N being 0 for most. phrases: per row, in order. ends: per row "end",
    or what cut it: "length", "budget", "phrases".
    """

    control: str
    context_ids: Tensor
    context_mask: Tensor
    tokens: Tensor
    token_mask: Tensor
    states: Tensor
    text_mask: Tensor
    control_mask: Tensor
    range_ids: Tensor
    weight_ids: Tensor
    text_logprobs: Tensor
    range_logprobs: Tensor
    weight_logprobs: Tensor
    range_allowed: Tensor
    phrases: tuple[tuple[Phrase, ...], ...]
    ends: tuple[str, ...]
    tastes: Tensor = dataclasses.field(default_factory=lambda: torch.zeros(0, 0))

    def __post_init__(self) -> None:
        if len(self.tastes) != len(self.tokens):  # none were given
            object.__setattr__(self, "tastes", self.tokens.new_zeros(len(self.tokens), 0, dtype=torch.float))

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def logprobs(self) -> Tensor:
        """Log-probability of each row (B,): all its words, ranges and weights."""
        return (self.text_logprobs + self.range_logprobs + self.weight_logprobs).sum(1)

    @property
    def actions(self) -> Tensor:
        """How many draws each row took (B,)."""
        return self.text_mask.sum(1) + 2 * self.control_mask.sum(1)

    def to(self, device: torch.device | str) -> Trajectory:
        """The same batch on another device."""
        return self._with(lambda tensor: tensor.to(device))

    def select(self, rows: Sequence[int]) -> Trajectory:
        """The batch of these rows, without the padding that only the others needed."""
        index = torch.as_tensor(list(rows), dtype=torch.long, device=self.tokens.device)
        part = self._with(lambda tensor: tensor[index])
        part = dataclasses.replace(
            part,
            phrases=tuple(self.phrases[row] for row in rows),
            ends=tuple(self.ends[row] for row in rows),
        )
        return part.trimmed()

    def trimmed(self) -> Trajectory:
        """The same rows without padding columns that no row needs."""
        width = int(self.token_mask.sum(1).max()) if len(self) else 0
        skip = int((~self.context_mask.bool()).sum(1).min()) if len(self) else 0
        context = {name: getattr(self, name)[:, skip:] for name in ("context_ids", "context_mask")}
        return dataclasses.replace(
            self, **context, **{name: getattr(self, name)[:, :width] for name in _PER_TOKEN}
        )

    def padded(self, *, left: int = 0, right: int = 0, fill: int = 0) -> Trajectory:
        """The same rows with more padding: columns before the context and behind the tokens."""
        grown = {
            "context_ids": _grow(self.context_ids, left, 0, fill),
            "context_mask": _grow(self.context_mask, left, 0, 0),
        }
        for name in _PER_TOKEN:
            value = {"tokens": fill, "states": INSIDE}.get(name, 0)
            grown[name] = _grow(getattr(self, name), 0, right, value)
        return dataclasses.replace(self, **grown)

    def _with(self, change: object) -> Trajectory:
        assert callable(change)
        return dataclasses.replace(
            self,
            **{
                each.name: change(getattr(self, each.name))
                for each in dataclasses.fields(self)
                if isinstance(getattr(self, each.name), Tensor)
            },
        )


def join_trajectories(parts: Sequence[Trajectory], fill: int) -> Trajectory:
    """One batch of several; `fill` is a token id for padding."""
    left = max(part.context_ids.shape[1] for part in parts)
    right = max(part.tokens.shape[1] for part in parts)
    even = [
        part.padded(left=left - part.context_ids.shape[1], right=right - part.tokens.shape[1], fill=fill)
        for part in parts
    ]
    first = even[0]
    tensors = [
        each.name for each in dataclasses.fields(first) if isinstance(getattr(first, each.name), Tensor)
    ]
    return dataclasses.replace(
        first,
        **{name: torch.cat([getattr(part, name) for part in even]) for name in tensors},
        phrases=tuple(row for part in even for row in part.phrases),
        ends=tuple(end for part in even for end in part.ends),
    )


def _grow(tensor: Tensor, left: int, right: int, value: int) -> Tensor:
    return torch.nn.functional.pad(tensor, (left, right), value=value)
