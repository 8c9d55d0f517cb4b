"""Qwen-Image: a chat model reads the prompt inside a template; sequences of any length with a mask."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dfprompt.conditioning.adapter import TextAdapter, execution_device
from dfprompt.conditioning.cache import Encoding
from dfprompt.conditioning.capabilities import QWEN_IMAGE
from dfprompt.conditioning.encoders import ChatEncoder, TextEncoder
from dfprompt.conditioning.entries import Entry


class QwenImageAdapter(TextAdapter):
    """Text adapter of the Qwen-Image pipelines; `prompt_embeds_mask` (E,T) marks real tokens with 1."""

    capabilities = QWEN_IMAGE
    default_length = 512
    greatest_length = 1024
    callback_names: ClassVar[Mapping[str, str]] = {"prompt_embeds": "prompt_embeds"}
    denoiser_names: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_embeds_mask": "encoder_hidden_states_mask",
    }
    guidance = "separate"
    # The stock call repeats the embeddings row by row but their mask as a block, so that rows of
    # different length would get each other's masks.
    expands_rows = False

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
        return {"prompt_embeds": parts[0].sequence.to(self.pipe.text_encoder.dtype)}

    def _stack(self, entries: Sequence[Entry]) -> Entry:
        """Pad every sequence with zeros to the longest, as the pipeline does, and mark what is real."""
        sequences = [entry["prompt_embeds"] for entry in entries]
        longest = max(map(len, sequences))
        padded = [
            torch.nn.functional.pad(sequence, (0, 0, 0, longest - len(sequence))) for sequence in sequences
        ]
        mask = torch.tensor([[1] * len(each) + [0] * (longest - len(each)) for each in sequences])
        device = execution_device(self.pipe)
        return {
            "prompt_embeds": torch.stack(padded).to(device),
            "prompt_embeds_mask": mask.to(device),
        }
