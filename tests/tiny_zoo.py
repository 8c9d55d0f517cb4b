"""Small random pipelines of kinds that tiny_pipelines.py has not, for the generic way to steer.

A list of encodings per row (Z-Image), a mask beside the encoding (Chroma, PixArt), no step callback
(PixArt), two denoisers that take turns and a video (Wan), separate calls for prompt and negative prompt,
a model that rewrites the prompt (ERNIE-Image).
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3Model

from tiny_pipelines import _t5, _vae, qwen_tokenizer, t5_tokenizer

SIZE = {"height": 16, "width": 16}


def _t5_parts() -> dict[str, Any]:
    tokenizer = t5_tokenizer()
    return {"tokenizer": tokenizer, "text_encoder": _t5(tokenizer)}


def build_pixart() -> Any:
    """Encoding and mask of a fixed length, both sides in one batch, nobody called back."""
    transformer = diffusers.PixArtTransformer2DModel(
        sample_size=8,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        caption_channels=32,
        in_channels=4,
        cross_attention_dim=16,
        out_channels=8,
        attention_bias=True,
        norm_type="ada_norm_single",
        norm_elementwise_affine=False,
        use_additional_conditions=False,
    )
    return diffusers.PixArtSigmaPipeline(
        transformer=transformer, vae=_vae(), scheduler=diffusers.DDIMScheduler(), **_t5_parts()
    )


def build_wan() -> Any:
    """A video; one denoiser for the noisy steps and another for the rest, each called twice per step."""

    def transformer() -> Any:
        return diffusers.WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=2,
            attention_head_dim=12,
            in_channels=16,
            out_channels=16,
            text_dim=32,
            freq_dim=32,
            ffn_dim=32,
            num_layers=1,
            cross_attn_norm=True,
            qk_norm="rms_norm_across_heads",
            rope_max_seq_len=32,
        )

    vae = diffusers.AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    return diffusers.WanPipeline(
        transformer=transformer(),
        transformer_2=transformer(),
        vae=vae,
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        boundary_ratio=0.6,
        **_t5_parts(),
    )


def build_chroma() -> Any:
    """Separate calls for prompt and negative prompt, each with ids and a mask."""
    transformer = diffusers.ChromaTransformer2DModel(
        patch_size=1,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        axes_dims_rope=[4, 4, 8],
        approximator_hidden_dim=32,
        approximator_layers=1,
        approximator_num_channels=16,
    )
    vae = _vae(latent_channels=1, use_quant_conv=False, use_post_quant_conv=False, shift_factor=0.06)
    return diffusers.ChromaPipeline(
        transformer=transformer, vae=vae, scheduler=diffusers.FlowMatchEulerDiscreteScheduler(), **_t5_parts()
    )


def build_z_image() -> Any:
    """A list of encodings, one per row, positive rows first, each as long as its text."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    encoder = Qwen3Model(Qwen3Config(vocab_size=len(tokenizer), **sizes, **heads))
    transformer = diffusers.ZImageTransformer2DModel(
        all_patch_size=(2,),
        all_f_patch_size=(1,),
        in_channels=16,
        dim=32,
        n_layers=2,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        norm_eps=1e-5,
        qk_norm=True,
        cap_feat_dim=16,
        rope_theta=256.0,
        t_scale=1000.0,
        axes_dims=[8, 4, 4],
        axes_lens=[256, 32, 32],
    )
    for name in ("x_pad_token", "cap_pad_token"):  # made of memory as it was found
        torch.nn.init.ones_(getattr(transformer, name))
    return diffusers.ZImagePipeline(
        transformer=transformer,
        vae=_vae(latent_channels=16, shift_factor=0.1),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        text_encoder=encoder,
        tokenizer=tokenizer,
    )


def build_ernie_image() -> Any:
    """A language model inside rewrites the prompt before it is encoded, unless told not to."""
    tokenizer = qwen_tokenizer()
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    tokenizer.model_max_length = 4  # so many words the rewriter says
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "vocab_size": len(tokenizer)}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    transformer = diffusers.ErnieImageTransformer2DModel(
        hidden_size=32,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=32,
        in_channels=4,
        out_channels=4,
        text_in_dim=16,
        rope_axes_dim=(8, 4, 4),
    )
    vae = diffusers.AutoencoderKLFlux2(
        down_block_types=("DownEncoderBlock2D",),
        up_block_types=("UpDecoderBlock2D",),
        block_out_channels=(4,),
        layers_per_block=1,
        latent_channels=1,
        norm_num_groups=1,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return diffusers.ErnieImagePipeline(
        transformer=transformer,
        vae=vae,
        text_encoder=Qwen3Model(Qwen3Config(**sizes, **heads)),
        tokenizer=qwen_tokenizer(),
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(),
        pe=Qwen3ForCausalLM(Qwen3Config(**sizes, **heads)),
        pe_tokenizer=tokenizer,
    )


# What each call needs besides prompts, steps and noise; the negative prompt acts in all of them.
CALLS: dict[str, dict[str, Any]] = {
    "pixart": {"max_sequence_length": 24, "use_resolution_binning": False, "clean_caption": False, **SIZE},
    "wan": {"max_sequence_length": 24, "num_frames": 5, "guidance_scale": 3.0, **SIZE},
    "chroma": {"max_sequence_length": 24, "guidance_scale": 3.0, **SIZE},
    "z-image": {"max_sequence_length": 32, "guidance_scale": 3.0, **SIZE},
    "ernie-image": {"use_pe": False, "guidance_scale": 3.0, **SIZE},
}
BUILDERS = {
    "pixart": build_pixart,
    "wan": build_wan,
    "chroma": build_chroma,
    "z-image": build_z_image,
    "ernie-image": build_ernie_image,
}


def build(name: str) -> Any:
    """Build the named pipeline with the same random weights every time, loud enough to hear the text."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = BUILDERS[name]()
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval()
        for part in (pipe.transformer, getattr(pipe, "transformer_2", None)):
            for parameter in part.parameters() if part is not None else ():
                parameter.data.add_(torch.randn_like(parameter) * 0.1)
    pipe.set_progress_bar_config(disable=True)
    return pipe
