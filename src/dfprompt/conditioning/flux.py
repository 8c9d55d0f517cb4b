"""FLUX.1: the sequence from T5, the pooled vector from CLIP, the negative in a call of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import FLUX
from dfprompt.conditioning.encoders import ClipEncoder, T5Encoder, TextEncoder


class FluxAdapter(TextAdapter):
    """Text adapter of the FLUX.1 pipelines."""

    capabilities = FLUX
    callback_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "prompt_embeds"}
    denoiser_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "pooled_prompt_embeds": "pooled_projections",
    }

    def _make_encoders(self) -> list[TextEncoder]:
        return [
            ClipEncoder(
                self._component("text_encoder"),
                self._component("tokenizer"),
                penultimate=False,
                sequence=False,
                pooled=True,
                inversions=self.inversions,
            ),
            T5Encoder(
                self._component("text_encoder_2"),
                self._component("tokenizer_2"),
                length=self.length,
                inversions=self.inversions,
            ),
        ]

    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        return {
            "prompt_embeds": parts[1].sequence.to(self.pipe.text_encoder_2.dtype),
            "pooled_prompt_embeds": parts[0].pooled.to(self.pipe.text_encoder.dtype),
        }
