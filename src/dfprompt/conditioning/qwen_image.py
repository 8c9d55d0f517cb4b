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

    def _stack(self, entries: Sequence[dict[str, Tensor] | None]) -> dict[str, Tensor]:
        """Pad every sequence with zeros to the longest, as the pipeline does, and mark what is real."""
        sequences = [entry["prompt_embeds"] for entry in entries if entry is not None]
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

    def trim(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cut each side to its longest row, as the pipeline does with a batch of this content."""
        trimmed = dict(tensors)
        for prefix in ("", "negative_"):
            mask = tensors.get(prefix + "prompt_embeds_mask")
            if mask is not None:
                longest = int(mask.sum(dim=1).max())
                trimmed[prefix + "prompt_embeds_mask"] = mask[:, :longest]
                trimmed[prefix + "prompt_embeds"] = tensors[prefix + "prompt_embeds"][:, :longest]
        return trimmed
