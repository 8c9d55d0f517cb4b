"""Stable Diffusion 3: two CLIP encoders side by side, T5 behind them, both pooled vectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import SD3
from dfprompt.conditioning.encoders import ClipEncoder, T5Encoder, TextEncoder


class SD3Adapter(TextAdapter):
    """Text adapter of the Stable Diffusion 3 pipelines, with or without T5."""

    capabilities = SD3
    callback_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "prompt_embeds",
        "pooled_prompt_embeds": "pooled_prompt_embeds",
    }
    denoiser_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "pooled_prompt_embeds": "pooled_projections",
    }

    def _make_encoders(self) -> list[TextEncoder]:
        encoders: list[TextEncoder] = [
            ClipEncoder(
                self._component("text_encoder" + number),
                self._component("tokenizer" + number),
                penultimate=True,
                sequence=True,
                pooled=True,
                inversions=False,
            )
            for number in ("", "_2")
        ]
        if self.pipe.text_encoder_3 is not None:
            tokenizer = self._component("tokenizer_3")
            encoders.append(
                T5Encoder(self.pipe.text_encoder_3, tokenizer, length=self.length, inversions=False)
            )
        return encoders

    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        dtype = self.pipe.text_encoder.dtype
        clip = torch.cat([part.sequence for part in parts[:2]], dim=-1).to(dtype)
        if len(parts) == 3:
            t5 = parts[2].sequence.to(self.pipe.text_encoder_3.dtype)
        else:  # the pipelines fill T5's place with zeros
            t5 = clip.new_zeros(self.length, self.pipe.transformer.config.joint_attention_dim)
        clip = torch.nn.functional.pad(clip, (0, t5.shape[-1] - clip.shape[-1]))
        return {
            "prompt_embeds": torch.cat([clip, t5]),
            "pooled_prompt_embeds": torch.cat([part.pooled for part in parts[:2]], dim=-1),
        }

    def _assemble_weights(self, parts: Sequence[Sequence[float]]) -> list[float]:
        clip = [next((w for w in token if w != 1), 1.0) for token in zip(*parts[:2], strict=True)]
        return [*clip, *(parts[2] if len(parts) == 3 else [1.0] * self.length)]
