"""The text encoders of all families behind one contract: windows of token ids in, encodings out.

Shapes: n windows, T tokens, D width, P pooled width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import torch
from diffusers.utils.torch_utils import get_module_execution_device
from torch import Tensor

from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.fingerprint import fingerprint_module
from dfprompt.conditioning.tokens import TokenizedText, Window, split_chunks, tokenize


class Unit(NamedTuple):
    """What is encoded once: a window's ids, which tokens attention may see (None: all), layers skipped."""

    ids: tuple[int, ...]
    seen: tuple[bool, ...] | None
    clip_skip: int | None


class Reading(NamedTuple):
    """A text as an encoder reads it: its windows, and the end of the text that it will not see."""

    windows: list[Window]
    lost: str


class TextEncoder(ABC):
    """One text encoder with its tokenizer.

    `sequence` and `pooled` say which outputs the family uses. `inversions` says whether the pipeline
    writes multi-vector textual inversions out. `chunks` says whether a long text fills several windows.
    """

    chunks = False

    def __init__(
        self, module: Any, tokenizer: Any, *, sequence: bool, pooled: bool, inversions: bool
    ) -> None:
        self.module = module
        self.tokenizer = tokenizer
        self.sequence = sequence
        self.pooled = pooled
        self.inversions = inversions

    def read(self, texts: Sequence[str], *, chunks: bool = True) -> list[Reading]:
        """Return the encoder's inputs for each text: one window, or several if it can chunk and may."""
        tokenized = tokenize(self.tokenizer, texts, inversions=self.inversions)
        return [self._window(tokens, chunks=chunks and self.chunks) for tokens in tokenized]

    @abstractmethod
    def _window(self, tokens: TokenizedText, *, chunks: bool) -> Reading:
        """Put the tokens of a text into windows."""

    @abstractmethod
    def forward(self, units: Sequence[Unit]) -> list[Encoding]:
        """Run the encoder once over these units."""

    def state(self) -> Hashable:
        """Return a key of everything that decides what the encoder makes of given token ids."""
        device = self.device
        ambient = torch.is_autocast_enabled(device.type) and str(torch.get_autocast_dtype(device.type))
        return fingerprint_module(self.module), str(self.module.dtype), str(device), ambient

    @property
    def device(self) -> torch.device:
        """Where the encoder runs, which under offloading is not where its weights are."""
        device: torch.device = get_module_execution_device(self.module)
        return device

    def _batch(self, units: Sequence[Unit]) -> tuple[Tensor, Tensor | None]:
        """Return ids (n,T) and, if anything is hidden, the attention mask (n,T)."""
        ids = torch.tensor([unit.ids for unit in units], device=self.device)
        if all(unit.seen is None for unit in units):
            return ids, None
        seen = [[1] * len(unit.ids) if unit.seen is None else list(map(int, unit.seen)) for unit in units]
        return ids, torch.tensor(seen, device=self.device)


class ClipEncoder(TextEncoder):
    """A CLIP text encoder: windows of 75 tokens between start and end token.

    `penultimate` takes the last hidden layer but one without the final norm (SDXL, SD3); otherwise
    the normalised last one (Stable Diffusion 1 and 2). `clip_skip` counts from there.
    """

    def __init__(self, module: Any, tokenizer: Any, *, penultimate: bool, **uses: bool) -> None:
        super().__init__(module, tokenizer, **uses)
        self.penultimate = penultimate
        self.chunks = self.sequence  # a pooled vector reads one window
        self._masks_padding = bool(getattr(module.config, "use_attention_mask", False))

    @property
    def _room(self) -> int:
        return int(self.tokenizer.model_max_length) - 2

    def _window(self, tokens: TokenizedText, *, chunks: bool) -> Reading:
        if chunks:
            return Reading([self._frame(tokens, each) for each in split_chunks(tokens, self._room)], "")
        return Reading([self._frame(tokens, slice(0, self._room))], tokens.text_from(self._room))

    def _frame(self, tokens: TokenizedText, chunk: slice) -> Window:
        ids, places = tokens.ids[chunk], tokens.places[chunk]
        padding = self._room - len(ids)
        return Window(
            (
                self.tokenizer.bos_token_id,
                *ids,
                self.tokenizer.eos_token_id,
                *[self.tokenizer.pad_token_id] * padding,
            ),
            (None, *places, None, *[None] * padding),
        )

    def forward(self, units: Sequence[Unit]) -> list[Encoding]:
        ids, seen = self._batch(units)
        if self._masks_padding:  # a few encoders want it, and the stock pipelines obey
            real = self._real_tokens(ids)
            seen = real if seen is None else seen * real
        skips = {unit.clip_skip for unit in units} if self.sequence else set()
        inner = self.penultimate or skips - {None}
        output = self.module(ids, attention_mask=seen, output_hidden_states=bool(inner))
        nothing = torch.empty(0, device=ids.device)
        pooled = self._pooled(output) if self.pooled else nothing
        sequences = {skip: self._layer(output, skip) for skip in skips}
        return [
            Encoding(
                sequences[unit.clip_skip][row].clone() if self.sequence else nothing,
                pooled[row].clone() if self.pooled else nothing,
            )
            for row, unit in enumerate(units)
        ]

    def _real_tokens(self, ids: Tensor) -> Tensor:
        """Return 1 up to and including the first end token, 0 on the padding after it."""
        ends = (ids == self.tokenizer.eos_token_id).int()
        return ((ends.cumsum(1) - ends) == 0).long()

    def _layer(self, output: Any, clip_skip: int | None) -> Tensor:
        if self.penultimate:
            layer: Tensor = output.hidden_states[-((clip_skip or 0) + 2)]
        elif clip_skip is None:
            layer = output.last_hidden_state
        else:
            text_model = getattr(self.module, "text_model", self.module)
            layer = text_model.final_layer_norm(output.hidden_states[-(clip_skip + 1)])
        return layer

    def _pooled(self, output: Any) -> Tensor:
        projected = getattr(output, "text_embeds", None)
        pooled: Tensor = output.pooler_output if projected is None else projected
        return pooled


class T5Encoder(TextEncoder):
    """A T5 encoder: one padded window of `length` tokens; what does not fit is cut."""

    def __init__(self, module: Any, tokenizer: Any, *, length: int, inversions: bool) -> None:
        super().__init__(module, tokenizer, sequence=True, pooled=False, inversions=inversions)
        self.length = length

    def _window(self, tokens: TokenizedText, *, chunks: bool) -> Reading:
        room = self.length - 1
        ids, places = tokens.ids[:room], tokens.places[:room]
        padding = room - len(ids)
        window = Window(
            (*ids, self.tokenizer.eos_token_id, *[self.tokenizer.pad_token_id] * padding),
            (*places, None, *[None] * padding),
        )
        return Reading([window], tokens.text_from(room))

    def forward(self, units: Sequence[Unit]) -> list[Encoding]:
        ids, seen = self._batch(units)
        nothing = torch.empty(0, device=ids.device)
        sequences = self.module(ids, attention_mask=seen)[0]
        return [Encoding(sequence.clone(), nothing) for sequence in sequences]


class ChatEncoder(TextEncoder):
    """A chat model that reads the prompt inside a template; one window of any length up to `length`.

    The first `dropped` tokens belong to the template and are cut off the encoding, the rest of the
    template stays, as in Qwen-Image.
    """

    def __init__(
        self, module: Any, tokenizer: Any, *, template: str, dropped: int, length: int, most: int
    ) -> None:
        super().__init__(module, tokenizer, sequence=True, pooled=False, inversions=False)
        self.before, self.after = template.split("{}")
        self.dropped = dropped
        self.length = length
        self.most = most

    def read(self, texts: Sequence[str], *, chunks: bool = True) -> list[Reading]:
        return super().read([self.before + text + self.after for text in texts], chunks=chunks)

    def _window(self, tokens: TokenizedText, *, chunks: bool) -> Reading:
        text = tokens.text[len(self.before) : len(tokens.text) - len(self.after)]
        # The stock pipeline cuts twice: the tokens before encoding, the encoding after it.
        kept = min(self.most, self.length) + self.dropped
        places = [self._own_place(place, len(text)) for place in tokens.places]
        lost_from = min((place[0] for place in places[kept:] if place is not None), default=len(text))
        heard = tuple(places[self.dropped : kept])
        return Reading([Window(tokens.ids[:kept], heard)], text[lost_from:])

    def _own_place(self, place: tuple[int, int], length: int) -> tuple[int, int] | None:
        """Move a place in the template to the text of this length; None outside it."""
        start, end = max(0, place[0] - len(self.before)), min(length, place[1] - len(self.before))
        return (start, end) if start < end else None

    def forward(self, units: Sequence[Unit]) -> list[Encoding]:
        longest = max(len(unit.ids) for unit in units)
        pad = self.tokenizer.pad_token_id
        ids = [[*unit.ids, *[pad] * (longest - len(unit.ids))] for unit in units]
        real = [[1] * len(unit.ids) + [0] * (longest - len(unit.ids)) for unit in units]
        output = self.module(
            input_ids=torch.tensor(ids, device=self.device),
            attention_mask=torch.tensor(real, device=self.device),
            output_hidden_states=True,
        )
        hidden = output.hidden_states[-1]
        nothing = torch.empty(0, device=hidden.device)
        return [
            Encoding(hidden[row, self.dropped : len(unit.ids)].clone(), nothing)
            for row, unit in enumerate(units)
        ]
