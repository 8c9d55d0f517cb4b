"""The seam between the compiler and the pipeline families: one text adapter per family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from torch import Tensor

from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.conditioning.capabilities import Capabilities, Weighting
from dfprompt.conditioning.embedding_bank import Bank, Entry, TokenWeights
from dfprompt.conditioning.encoded import Encoded
from dfprompt.conditioning.encoder_layout import Conditioning
from dfprompt.conditioning.encoders import TextEncoder
from dfprompt.errors import ConfigError, UnsupportedPipelineError
from dfprompt.excerpt import quote


def execution_device(pipe: Any) -> torch.device:
    """Return where a pipeline runs, also under offloading."""
    # The pipeline's own search takes a millisecond, and without an accelerator there is one answer.
    return pipe._execution_device if torch.accelerator.is_available() else torch.device("cpu")


class TextAdapter(ABC):
    """How one pipeline turns texts into the tensors its denoiser hears.

    `callback_names` says under which names a step callback may replace the tensors, as far as the
    family allows it; `denoiser_names` under which arguments the denoiser receives them.
    """

    capabilities: ClassVar[Capabilities]
    callback_names: ClassVar[Mapping[str, str]]
    denoiser_names: ClassVar[Mapping[str, str]]
    silent_negative: bool = False

    def __init__(self, pipe: Any, max_sequence_length: int | None = None) -> None:
        self.pipe = pipe
        self.length = self._check_length(max_sequence_length)
        self.inversions = isinstance(pipe, TextualInversionLoaderMixin)
        self.encoders = self._make_encoders()

    @abstractmethod
    def _make_encoders(self) -> list[TextEncoder]:
        """Return the family's encoders in the order `_assemble` takes their parts."""

    @abstractmethod
    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        """Join what the encoders contribute to one conditioning into the pipeline's tensors."""

    @property
    def denoiser(self) -> torch.nn.Module:
        """The model that hears the tensors."""
        module: torch.nn.Module = getattr(self.pipe, "unet", None) or self.pipe.transformer
        return module

    @property
    def listeners(self) -> list[torch.nn.Module]:
        """Every module that hears the tensors: the denoiser, a second one, the ControlNets beside it."""
        parts = (getattr(self.pipe, name, None) for name in ("transformer_2", "controlnet"))
        return [self.denoiser, *(part for part in parts if isinstance(part, torch.nn.Module))]

    @property
    def missing_negative(self) -> str | None:
        """The text encoded when no negative prompt is given; None where the family then has no negative."""
        return "" if self.capabilities.guidance == "stacked" else None

    @property
    def default_weighting(self) -> Weighting:
        """The rule used when none is named: the model's own wish, or the family's default."""
        wish: Weighting | None = getattr(self.encoders[0].module.config, "dfprompt_weighting", None)
        if wish not in (None, *self.capabilities.weightings):
            known = ", ".join(self.capabilities.weightings)
            raise ConfigError(
                f"the text encoder's config names dfprompt_weighting={quote(wish)}, not {known}"
            )
        return wish or self.capabilities.weighting

    def windows(self, texts: Sequence[str], *, chunks: bool = True) -> list[int]:
        """Return how many windows of the encoders each text fills (1 where the family does not chunk)."""
        readings = (encoder.read(texts, chunks=chunks) for encoder in self.encoders)
        return [max(len(each.windows) for each in row) for row in zip(*readings, strict=True)]

    def fits(self, text: str) -> bool:
        """Whether every encoder of the sequence sees the whole text in one window."""
        return not self.cut_off(text)

    def cut_off(self, text: str) -> str:
        """Return the end of a text that an encoder of the sequence does not see without chunks."""
        ends = [encoder.read([text], chunks=False)[0].lost for encoder in self.encoders if encoder.sequence]
        return max(ends, key=len)

    @property
    def stock_clip_skip(self) -> bool:
        """Whether the pipeline's own clip_skip works with the installed encoder."""
        return True

    def encode(
        self,
        conditionings: Sequence[Conditioning],
        rule: Weighting,
        *,
        cache: EncodingCache,
        chunks: bool = True,
        batch_size: int = 32,
        lora_scale: float | None = None,
    ) -> Bank:
        """Encode every conditioning, each distinct window once, one batch per encoder.

        All entries of the bank have one length: shorter texts are padded with empty windows. Under
        the rule `attention` entries carry no weights; the bank has the tokens' weights beside them.
        """
        spoken = list(conditionings)
        if rule == "attention":
            spoken = [one._replace(weights=()) for one in conditionings]
        with torch.no_grad(), self._lora_scaled(lora_scale):
            encoded = [
                Encoded(encoder, spoken, rule, chunks=chunks, cache=cache, batch_size=batch_size)
                for encoder in self.encoders
            ]
        counts = [max(each.count(one) for each in encoded) for one in spoken]
        heard = [tuple(each.layout(one) for each in encoded) for one in spoken]
        distinct = {what: number for number, what in enumerate(dict.fromkeys(heard))}
        models = dict(zip(heard, spoken, strict=True))
        # What only a pooled vector does not see is cut by every pipeline alike.
        lost = {text: end for each in encoded if each.encoder.sequence for text, end in each.lost.items()}
        return Bank(
            make=partial(self._entry, list(models.values()), encoded, max(counts)),
            stack=self._stack,
            weighted=frozenset(
                number
                for what, number in distinct.items()
                if any(layout is not None and not layout.is_plain for layout in what)
            ),
            entries=tuple(distinct[what] for what in heard),
            windows=tuple(counts),
            forwards=tuple(each.forwards for each in encoded),
            encoded=tuple(each.encoded for each in encoded),
            lost=lost,
            token_weights=(
                self._token_weights(conditionings, encoded, max(counts)) if rule == "attention" else None
            ),
        )

    def _entry(
        self, models: Sequence[Conditioning], encoded: Sequence[Encoded], windows: int, number: int
    ) -> Entry | None:
        conditioning = models[number]
        if conditioning.silent:
            return None
        return self._assemble([each.part(conditioning, windows) for each in encoded])

    def _token_weights(
        self, conditionings: Sequence[Conditioning], encoded: Sequence[Encoded], windows: int
    ) -> TokenWeights:
        """Line the tokens' weights up with the sequences that `_assemble` makes."""
        lined = [
            tuple(self._assemble_weights([each.token_weights(one, windows) for each in encoded]))
            for one in conditionings
        ]
        distinct = {row: number for number, row in enumerate(dict.fromkeys(lined))}
        return TokenWeights(tuple(distinct), tuple(distinct[row] for row in lined))

    def _assemble_weights(self, parts: Sequence[Sequence[float]]) -> list[float]:
        """Join the encoders' token weights as `_assemble` joins their sequences: side by side here."""
        sides = [part for part, each in zip(parts, self.encoders, strict=True) if each.sequence]
        return [next((w for w in token if w != 1), 1.0) for token in zip(*sides, strict=True)]

    def _stack(self, entries: Sequence[Entry]) -> Entry:
        """Stack entries into tensors with a row for each."""
        device = execution_device(self.pipe)
        return {name: torch.stack([entry[name] for entry in entries]).to(device) for name in entries[0]}

    @contextmanager
    def _lora_scaled(self, scale: float | None) -> Iterator[None]:
        """Scale the encoders' LoRA layers as the pipelines do for a `scale` in their attention kwargs."""
        if scale is None:
            yield
            return
        for encoder in self.encoders:
            scale_lora_layers(encoder.module, scale)
        try:
            yield
        finally:
            for encoder in self.encoders:
                unscale_lora_layers(encoder.module, scale)

    def _check_length(self, asked: int | None) -> int:
        if asked is None:
            return self.capabilities.default_length
        greatest = self.capabilities.greatest_length
        if not greatest:
            raise ConfigError(
                f"max_sequence_length={quote(asked)} means nothing to {type(self.pipe).__name__}, "
                "whose window is fixed; leave it out"
            )
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= greatest:
            raise ConfigError(f"max_sequence_length must be 1 to {greatest} here, not {quote(asked)}")
        return asked

    def _component(self, name: str) -> Any:
        """Return a part of the pipeline, or raise UnsupportedPipelineError naming what is missing."""
        part = getattr(self.pipe, name, None)
        if part is None:
            raise UnsupportedPipelineError(
                f"this {type(self.pipe).__name__} has no {name}, so there is nothing to encode prompts with; "
                f"load it with its {name}, or pass prompt_embeds to the pipeline yourself"
            )
        return part
