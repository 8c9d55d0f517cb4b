"""Tiny random-weight scorers saved in the official layouts, and pictures to score. Nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel

from tiny_pipelines import WORDS, clip_tokenizer

WIDTH = 24  # of the shared space
IMAGE_SIZE = 64


def clip_config(*, activation: str = "quick_gelu", legacy_end: bool = False) -> CLIPConfig:
    """A two-layer CLIP of OpenAI's kind, or (gelu, the old end token 2) of CLIP-H's."""
    tokenizer = clip_tokenizer()
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 77,
        "hidden_act": activation,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": 2 if legacy_end else tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_factor": 5.0,  # the usual one leaves random towers nearly blind and deaf
    }
    vision = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": IMAGE_SIZE,
        "patch_size": 16,
        "hidden_act": activation,
        "initializer_factor": 5.0,
    }
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=WIDTH, initializer_factor=5.0)


def save_clip(folder: Path, seed: int = 0, **config: Any) -> Path:
    """A random CLIPModel with tokenizer and preprocessor_config.json, as `save_pretrained` writes them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(clip_config(**config)).eval()
        nn.init.constant_(model.logit_scale, 3.0)
    model.save_pretrained(folder)
    save_processor(folder)
    return folder


def save_processor(folder: Path, **settings: Any) -> None:
    """The tokenizer and image processor of a tiny CLIP."""
    size = {"shortest_edge": IMAGE_SIZE}
    crop = {"height": IMAGE_SIZE, "width": IMAGE_SIZE}
    CLIPImageProcessorPil(**{"size": size, "crop_size": crop, **settings}).save_pretrained(folder)
    clip_tokenizer().save_pretrained(folder)


class PublishedHead(nn.Module):
    """The module whose state dict was published: linear layers with dropouts between."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, 20),
            nn.Dropout(0.2),
            nn.Linear(20, 12),
            nn.Dropout(0.2),
            nn.Linear(12, 8),
            nn.Dropout(0.1),
            nn.Linear(8, 4),
            nn.Linear(4, 1),
        )


def published_head(width: int = WIDTH, seed: int = 0) -> PublishedHead:
    """A random head in the published layout."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = PublishedHead(width).eval()
        for parameter in head.parameters():
            nn.init.normal_(parameter, std=0.5)
    return head


def save_published_head(file: Path, width: int = WIDTH, seed: int = 0) -> Path:
    """The head's state dict as a .pth file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(published_head(width, seed).state_dict(), file)
    return file


def save_set(folder: Path, *, domain: bool = False) -> Path:
    """A folder with clip/, aesthetic/ and preference/, such as the mini world ships."""
    from dfprompt.rewards import save_aesthetic_head
    from dfprompt.rewards.aesthetic import head_from_state

    save_clip(folder / "clip", seed=1)
    save_clip(folder / "preference", seed=2, activation="gelu", legacy_end=True)
    save_aesthetic_head(head_from_state(published_head(seed=3).state_dict()), folder / "aesthetic", "../clip")
    if domain:
        world = {"name": "tiny", "words": list(WORDS), "image_size": IMAGE_SIZE}
        (folder / "domain.json").write_text(json.dumps(world))
    return folder


def pictures(count: int, height: int = IMAGE_SIZE, width: int = IMAGE_SIZE, seed: int = 0) -> Tensor:
    """Smooth random pictures (B, 3, H, W) at whole 8-bit levels, so that they survive a PNG."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 5, 5, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=True)
    noisy = smooth + 0.1 * torch.randn(smooth.shape, generator=generator)
    return (noisy.clamp(0, 1) * 255).round() / 255


PROMPTS = (
    "a red house",
    "the blue cat in snow",
    "a dog",
    "anime style",
    "old film grain",
    "a horse and a house",
)


def prompts(count: int) -> list[str]:
    """Different short prompts, repeated when they run out."""
    return [PROMPTS[row % len(PROMPTS)] for row in range(count)]


# ---- ICTHP's layouts -------------------------------------------------------------------------------------


def save_fine_tuned(file: Path, seed: int) -> CLIPModel:
    """A random CLIPModel's state dict as pytorch_model.bin holds it, with the buffers of older versions."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(clip_config(activation="gelu", legacy_end=True)).eval()
    state = dict(model.state_dict())
    for half in ("text_model", "vision_model"):
        places = getattr(model, half).embeddings.position_embedding.num_embeddings
        state[f"{half}.embeddings.position_ids"] = torch.arange(places)[None]
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save(state, file)
    return model


def save_icthp(folder: Path) -> tuple[CLIPModel, CLIPModel, PublishedHead]:
    """Folders ict/ and hp/ in the published layouts, with configurations; the models that wrote them."""
    for name in ("ict", "hp"):
        (folder / name).mkdir(parents=True)
        clip_config(activation="gelu", legacy_end=True).save_pretrained(folder / name)
        save_processor(folder / name)
    ict = save_fine_tuned(folder / "ict" / "pytorch_model.bin", seed=7)
    backbone = save_fine_tuned(folder / "hp" / "hp_backbone" / "pytorch_model.bin", seed=8)
    head = published_head(seed=9)
    with torch.no_grad():
        head.layers[7].weight /= 40  # so that no sigmoid is at its end
    (folder / "hp" / "hp_scorer").mkdir()
    torch.save(head.state_dict(), folder / "hp" / "hp_scorer" / "mlp_pytorch_model.bin")
    return ict, backbone, head


# ---- open_clip's layout ----------------------------------------------------------------------------------


def save_open_clip(folder: Path, seed: int = 5) -> dict[str, Tensor]:
    """A folder as for HPSv2.1: CLIP-H's configuration and an open_clip checkpoint of random tensors."""
    config = clip_config(activation="gelu", legacy_end=True)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    save_processor(folder)
    state = open_clip_state(config, seed)
    torch.save({"state_dict": state}, folder / "HPS_v2.1_compressed.pt")
    return state


def open_clip_state(config: CLIPConfig, seed: int = 0) -> dict[str, Tensor]:
    """Random tensors under open_clip's names, in its shapes."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator) * 0.2

    text, vision = config.text_config, config.vision_config
    patches = (vision.image_size // vision.patch_size) ** 2
    state = {
        "visual.class_embedding": draw(vision.hidden_size),
        "visual.positional_embedding": draw(patches + 1, vision.hidden_size),
        "visual.conv1.weight": draw(vision.hidden_size, 3, vision.patch_size, vision.patch_size),
        "visual.proj": draw(vision.hidden_size, config.projection_dim),
        "token_embedding.weight": draw(text.vocab_size, text.hidden_size),
        "positional_embedding": draw(text.max_position_embeddings, text.hidden_size),
        "text_projection": draw(text.hidden_size, config.projection_dim),
        "logit_scale": torch.tensor(4.6),
    }
    norms = {"visual.ln_pre": vision, "visual.ln_post": vision, "ln_final": text}
    for half, prefix in ((vision, "visual.transformer"), (text, "transformer")):
        wide, inner = half.hidden_size, half.intermediate_size
        for layer in range(half.num_hidden_layers):
            block = f"{prefix}.resblocks.{layer}"
            norms |= {f"{block}.ln_1": half, f"{block}.ln_2": half}
            state |= {
                f"{block}.attn.in_proj_weight": draw(3 * wide, wide),
                f"{block}.attn.in_proj_bias": draw(3 * wide),
                f"{block}.attn.out_proj.weight": draw(wide, wide),
                f"{block}.attn.out_proj.bias": draw(wide),
                f"{block}.mlp.c_fc.weight": draw(inner, wide),
                f"{block}.mlp.c_fc.bias": draw(inner),
                f"{block}.mlp.c_proj.weight": draw(wide, inner),
                f"{block}.mlp.c_proj.bias": draw(wide),
            }
    for name, half in norms.items():
        state[f"{name}.weight"] = 1 + draw(half.hidden_size)
        state[f"{name}.bias"] = draw(half.hidden_size)
    return state
