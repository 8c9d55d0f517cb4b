"""Stable Diffusion 1 and 2: one CLIP encoder, its normalised last hidden state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import STABLE_DIFFUSION
from dfprompt.conditioning.encoders import ClipEncoder, TextEncoder


class StableDiffusionAdapter(TextAdapter):
    """Text adapter of the Stable Diffusion 1 and 2 pipelines."""

    capabilities = STABLE_DIFFUSION
    callback_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "prompt_embeds"}
    denoiser_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "encoder_hidden_states"}

    def _make_encoders(self) -> list[TextEncoder]:
        return [
            ClipEncoder(
                self._component("text_encoder"),
                self._component("tokenizer"),
                penultimate=False,
                sequence=True,
                pooled=False,
                inversions=self.inversions,
            )
        ]

    @property
    def stock_clip_skip(self) -> bool:
        # The pipelines look for the final norm under `text_model`, which transformers 5 dropped.
        return hasattr(self.pipe.text_encoder, "text_model")

    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        return {"prompt_embeds": parts[0].sequence.to(self.pipe.text_encoder.dtype)}
