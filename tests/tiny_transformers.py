"""Small random pipelines of the transformer families whose weights act in attention, chat encoders included.

`tiny_zoo.py` has Z-Image, Wan and Chroma; here are FLUX.2, FLUX.2 klein and Krea 2, each with a text
encoder of its own kind and a chat template with the special tokens of the real one.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from transformers import (
    Mistral3Config,
    Mistral3ForConditionalGeneration,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLModel,
)

import tiny_zoo
from tiny_pipelines import qwen_tokenizer

SIZE = {"height": 16, "width": 16}
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }} "
    "{% if m['content'] is string %}{{ m['content'] }}{% else %}"
    "{% for c in m['content'] %}{{ c['text'] }}{% endfor %}{% endif %}<|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant{% if enable_thinking is defined and not "
    "enable_thinking %} style {% endif %}{% endif %}"
)


def chat_tokenizer() -> Any:
    """A byte-level tokenizer with a chat template around the text."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = CHAT
    return tokenizer


def _qwen3_sizes(tokenizer: Any) -> dict[str, Any]:
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 3}
    return {**sizes, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": len(tokenizer)}


def _flux2(encoder: Any, tokenizer: Any, kind: Any, layers: int) -> Any:
    transformer = diffusers.Flux2Transformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=16 * layers,
        timestep_guidance_channels=32,
        axes_dims_rope=[4, 4, 4, 4],
        guidance_embeds=False,
    )
    vae = diffusers.AutoencoderKLFlux2(
        sample_size=32,
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return kind(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=encoder,
        tokenizer=tokenizer,
        transformer=transformer,
    )


def build_flux2_klein() -> Any:
    """One encoder (Qwen3), layers side by side, a fixed length; the negative is the empty prompt."""
    tokenizer = chat_tokenizer()
    encoder = Qwen3ForCausalLM(Qwen3Config(**_qwen3_sizes(tokenizer)))
    return _flux2(encoder, tokenizer, diffusers.Flux2KleinPipeline, layers=2)


def build_flux2() -> Any:
    """One encoder (Mistral3) behind a system turn, padded on the left as its processor does."""
    tokenizer = chat_tokenizer()
    tokenizer.padding_side = "left"
    config = Mistral3Config(
        text_config={"model_type": "mistral", **_qwen3_sizes(tokenizer)},
        vision_config={
            "model_type": "pixtral",
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 4,
            "intermediate_size": 16,
            "image_size": 30,
            "patch_size": 6,
        },
        image_token_index=1,
    )
    return _flux2(Mistral3ForConditionalGeneration(config), tokenizer, diffusers.Flux2Pipeline, layers=2)


def build_krea2() -> Any:
    """Layers stacked per token, padding in the middle of the template, a mask, separate calls."""
    tokenizer = qwen_tokenizer()
    rope = {"mrope_section": [2, 1, 1], "rope_theta": 1e4, "rope_type": "default"}
    config = Qwen3VLConfig(
        text_config={**_qwen3_sizes(tokenizer), "head_dim": 8, "rope_parameters": rope},
        vision_config={
            "depth": 1,
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_heads": 2,
            "out_hidden_size": 16,
            "deepstack_visual_indexes": [0],
        },
    )
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=2,
        attention_head_dim=16,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=32,
        timestep_embed_dim=16,
        text_hidden_dim=16,
        num_text_layers=2,
        text_num_attention_heads=2,
        text_num_key_value_heads=2,
        text_intermediate_size=32,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    vae = diffusers.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1],
        num_res_blocks=1,
        temperal_downsample=[True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )
    return diffusers.Krea2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        text_encoder=Qwen3VLModel(config),
        tokenizer=tokenizer,
        transformer=transformer,
        text_encoder_select_layers=(1, 2),
    )


# What each call needs besides prompts, steps and noise.
CALLS: dict[str, dict[str, Any]] = {
    **{name: tiny_zoo.CALLS[name] for name in ("z-image", "wan", "chroma")},
    "flux2-klein": {
        "max_sequence_length": 48,
        "guidance_scale": 3.0,
        "text_encoder_out_layers": (1, 2),
        **SIZE,
    },
    "flux2": {"max_sequence_length": 320, "text_encoder_out_layers": (1, 2), **SIZE},
    "krea2": {"max_sequence_length": 24, "guidance_scale": 3.0, **SIZE},
}
BUILDERS = {"flux2-klein": build_flux2_klein, "flux2": build_flux2, "krea2": build_krea2}


def build(name: str) -> Any:
    """Build the named pipeline with the same random weights every time, loud enough to hear the text."""
    if name not in BUILDERS:
        return tiny_zoo.build(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = BUILDERS[name]()
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        for parameter in pipe.transformer.parameters():
            parameter.data.add_(torch.randn_like(parameter) * 0.1)
    pipe.set_progress_bar_config(disable=True)
    return pipe
