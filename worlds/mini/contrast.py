"""The mini CLIP: pictures and captions in one space, a stock CLIPModel trained on captioned renders."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from dfprompt.mini.world import IMAGE_SIZE
from worlds.mini.loop import StepLoss, StepRandom, device_of
from worlds.mini.text import MAX_TOKENS, tokenize

WIDTH = 128
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def make_clip(tokenizer: CLIPTokenizer) -> CLIPModel:
    """An untrained CLIPModel: 8-pixel patches of 64 x 64 pictures, both towers 128 wide."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=MAX_TOKENS,
        **ids,
    )
    vision = CLIPVisionConfig(
        hidden_size=WIDTH,
        intermediate_size=4 * WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=IMAGE_SIZE,
        patch_size=8,
    )
    config = CLIPConfig(
        text_config=text.to_dict(),
        vision_config=vision.to_dict(),
        projection_dim=WIDTH,
        logit_scale_init_value=2.3,
    )
    return CLIPModel(config)


def make_processor() -> CLIPImageProcessorPil:
    """The image processor stored beside the model; 64 x 64 pictures pass through it unresized."""
    return CLIPImageProcessorPil(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=list(MEAN),
        image_std=list(STD),
    )


def to_pixels(pictures: npt.NDArray[np.uint8]) -> Tensor:
    """uint8 (B, H, W, 3) to the model's normalised pixel values (B, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pictures)).permute(0, 3, 1, 2).float() / 127.5 - 1


def embed_images(clip: CLIPModel, pixels: Tensor) -> Tensor:
    """L2-normalised image embeddings (B, D)."""
    out: Tensor = clip.get_image_features(pixel_values=pixels).pooler_output
    return functional.normalize(out, dim=-1)


def embed_texts(clip: CLIPModel, ids: Tensor) -> Tensor:
    """L2-normalised text embeddings (B, D)."""
    out: Tensor = clip.get_text_features(input_ids=ids).pooler_output
    return functional.normalize(out, dim=-1)


def contrastive_loss(
    pictures: npt.NDArray[np.uint8], captions: Sequence[str], tokenizer: CLIPTokenizer, batch: int
) -> StepLoss:
    """A step's loss: the symmetric InfoNCE of CLIP (Radford et al., 2021); equal captions are no negatives.

    Captions are cut to their longest row: causal attention never sees what stands behind the end token.
    """
    ids = tokenize(tokenizer, captions)
    ids = ids[:, : int((ids != tokenizer.eos_token_id).sum(1).max()) + 1]
    _, kind = np.unique(np.array(captions), return_inverse=True)
    kinds = torch.from_numpy(kind)

    def loss(clip: nn.Module, random: StepRandom) -> tuple[Tensor, dict[str, float]]:
        index = random.numpy.integers(len(pictures), size=batch)
        rows = torch.from_numpy(index)
        device = device_of(clip)
        image = embed_images(clip, to_pixels(pictures[index]).to(device))
        text = embed_texts(clip, ids[rows].to(device))
        logits = clip.logit_scale.exp().clamp(max=100) * image @ text.T
        same = (kinds[rows][:, None] == kinds[rows][None]) & ~torch.eye(batch, dtype=torch.bool)
        logits = logits.masked_fill(same.to(device), -1e4)
        target = torch.arange(batch, device=device)
        value = (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2
        return value, {"top1": (logits.argmax(1) == target).float().mean().item()}

    return loss
