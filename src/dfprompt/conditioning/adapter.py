"""The seam between the compiler and the pipeline families: one text adapter per family."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from diffusers.utils.peft_utils import scale_lora_layers, unscale_lora_layers
from torch import Tensor

from dfprompt.conditioning.bank import Encoded
from dfprompt.conditioning.cache import Encoding, EncodingCache
from dfprompt.conditioning.capabilities import Capabilities, Weighting
from dfprompt.conditioning.encoders import TextEncoder
from dfprompt.conditioning.layouts import Conditioning
from dfprompt.errors import ConfigError, UnsupportedPipelineError
from dfprompt.excerpt import quote


class Bank(NamedTuple):
    """E distinct encodings by tensor name, each (E, ...).

    `entries` says which of them each conditioning has: texts that come to the same tokens and
    weights share one. `windows` counts each conditioning's windows before padding; `forwards` and
    `encoded` how often each encoder ran and how many windows it read; `lost` the end of each text
    that was cut off.
    """

    tensors: dict[str, Tensor]
    entries: tuple[int, ...]
    windows: tuple[int, ...]
    forwards: tuple[int, ...]
    encoded: tuple[int, ...]
    lost: dict[str, str]


def execution_device(pipe: Any) -> torch.device:
    """Return where a pipeline runs, also under offloading."""
    # The pipeline's own search takes a millisecond, and without an accelerator there is one answer.
    return pipe._execution_device if torch.accelerator.is_available() else torch.device("cpu")


class TextAdapter(ABC):
    """How one pipeline turns texts into the tensors its denoiser hears.

    `callback_names` says under which names a step callback may replace the tensors, as far as the
    family allows it; `denoiser_names` under which arguments the denoiser receives them. `guidance`
    is "stacked" where negative and positive rows are one batch, "separate" where the denoiser is
    called twice. `expands_rows` says whether the stock call repeats given embeddings for
    num_images_per_prompt itself, and rightly. `default_length` and `greatest_length` are
    max_sequence_length's, 0 where the window is fixed.
    """

    capabilities: ClassVar[Capabilities]
    callback_names: ClassVar[Mapping[str, str]]
    denoiser_names: ClassVar[Mapping[str, str]]
    guidance: ClassVar[Literal["stacked", "separate"]] = "stacked"
    expands_rows: ClassVar[bool] = True
    default_length: ClassVar[int] = 0
    greatest_length: ClassVar[int] = 0
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
        return "" if self.guidance == "stacked" else None

    @property
    def default_weighting(self) -> Weighting | None:
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

        All entries of the bank have one length: shorter texts are padded with empty windows.
        """
        with torch.no_grad(), self._lora_scaled(lora_scale):
            encoded = [
                Encoded(encoder, conditionings, rule, chunks=chunks, cache=cache, batch_size=batch_size)
                for encoder in self.encoders
            ]
            counts = [max(each.count(one) for each in encoded) for one in conditionings]
            heard = [tuple(each.layout(one) for each in encoded) for one in conditionings]
            distinct = {what: number for number, what in enumerate(dict.fromkeys(heard))}
            models = dict(zip(heard, conditionings, strict=True)).values()
            tensors = self._stack([self._entry(one, encoded, max(counts)) for one in models])
        # What only a pooled vector does not see is cut by every pipeline alike.
        lost = {text: end for each in encoded if each.encoder.sequence for text, end in each.lost.items()}
        return Bank(
            tensors,
            tuple(distinct[what] for what in heard),
            tuple(counts),
            tuple(each.forwards for each in encoded),
            tuple(each.encoded for each in encoded),
            lost,
        )

    def _entry(
        self, conditioning: Conditioning, encoded: Sequence[Encoded], windows: int
    ) -> dict[str, Tensor] | None:
        if conditioning.silent:
            return None
        return self._assemble([each.part(conditioning, windows) for each in encoded])

    def _stack(self, entries: Sequence[dict[str, Tensor] | None]) -> dict[str, Tensor]:
        """Stack the entries; silent ones (None) become zeros of the others' shape."""
        model = next(entry for entry in entries if entry is not None)
        zeros = {name: torch.zeros_like(like) for name, like in model.items()}
        device = execution_device(self.pipe)
        return {
            name: torch.stack([(zeros if entry is None else entry)[name] for entry in entries]).to(device)
            for name in model
        }

    def trim(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cut padding that no row of this selection needs; most families have one length anyway."""
        return tensors

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
            return self.default_length
        if not self.greatest_length:
            raise ConfigError(
                f"max_sequence_length={quote(asked)} means nothing to {type(self.pipe).__name__}, "
                "whose window is fixed; leave it out"
            )
        if isinstance(asked, bool) or not isinstance(asked, int) or not 1 <= asked <= self.greatest_length:
            raise ConfigError(
                f"max_sequence_length must be 1 to {self.greatest_length} here, not {quote(asked)}"
            )
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
