"""Qwen-Image: a chat model reads the prompt inside a template; sequences of any length with a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter, execution_device
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import QWEN_IMAGE
from dfprompt.conditioning.embedding_bank import Entry
from dfprompt.conditioning.encoders import ChatEncoder, TextEncoder


class QwenImageAdapter(TextAdapter):
    """Text adapter of the Qwen-Image pipelines; `prompt_embeds_mask` (E,T) marks real tokens with 1."""

    capabilities = QWEN_IMAGE
    callback_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "prompt_embeds"}
    denoiser_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_embeds_mask": "encoder_hidden_states_mask",
    }

    def _make_encoders(self) -> list[TextEncoder]:
        return [
            ChatEncoder(
                self._component("text_encoder"),
                self._component("tokenizer"),
                template=self.pipe.prompt_template_encode,
                dropped=self.pipe.prompt_template_encode_start_idx,
                length=self.length,
                most=self.pipe.tokenizer_max_length,
            )
        ]

    def _assemble(self, parts: Sequence[Encoding]) -> dict[str, Tensor]:
        sequence = parts[0].sequence.to(self.pipe.text_encoder.dtype)
        real = torch.ones(len(sequence), dtype=torch.long, device=sequence.device)
        return {"prompt_embeds": sequence, "prompt_embeds_mask": real}

    def _stack(self, entries: Sequence[Entry]) -> Entry:
        """Pad every sequence and its mask with zeros to the longest, as the pipeline does."""
        longest = max(len(entry["prompt_embeds"]) for entry in entries)
        device = execution_device(self.pipe)
        return {
            name: torch.stack([_pad(entry[name], longest) for entry in entries]).to(device)
            for name in entries[0]
        }


def _pad(tensor: Tensor, length: int) -> Tensor:
    """Append zeros to the first dimension up to this length."""
    end = tensor.new_zeros(length - len(tensor), *tensor.shape[1:])
    return torch.cat([tensor, end])
