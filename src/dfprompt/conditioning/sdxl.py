"""Stable Diffusion XL: two CLIP encoders side by side, the pooled vector of the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import SDXL
from dfprompt.conditioning.encoders import ClipEncoder, TextEncoder


class SDXLAdapter(TextAdapter):
    """Text adapter of the Stable Diffusion XL pipelines; the refiner has the second encoder only."""

    capabilities = SDXL
    callback_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "prompt_embeds",
        "pooled_prompt_embeds": "add_text_embeds",
    }
    denoiser_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "encoder_hidden_states"}

    def __init__(self, pipe: Any, max_sequence_length: int | None = None) -> None:
        super().__init__(pipe, max_sequence_length)
        self.silent_negative = bool(pipe.config.get("force_zeros_for_empty_prompt", False))

    def _make_encoders(self) -> list[TextEncoder]:
        # As in the pipelines, the first encoder is left out if its tokenizer is missing (the refiner).
        first = ["text_encoder"] if getattr(self.pipe, "tokenizer", None) is not None else []
        return [
            ClipEncoder(
                self._component(name),
                self._component(name.replace("text_encoder", "tokenizer")),
                penultimate=True,
                sequence=True,
                pooled=name == "text_encoder_2",
                inversions=self.inversions,
            )
            for name in [*first, "text_encoder_2"]
        ]

    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        dtype = self.pipe.text_encoder_2.dtype
        return {
            "prompt_embeds": torch.cat([part.sequence for part in parts], dim=-1).to(dtype),
            "pooled_prompt_embeds": parts[-1].pooled,
        }
