"""Tiny random-weight pipelines of every family, saved in the official layout and loaded by from_pretrained.

Nothing is downloaded: the tokenizers are built from the words below and fall back to bytes, so any text can
be encoded. Tests reach these through the fixtures `tiny_folder` and `tiny_pipe` (tiny_fixtures.py).
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderKLQwenImage,
    ControlNetModel,
    DDIMScheduler,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    QwenImagePipeline,
    QwenImageTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)

# Words that are one token; every other word falls apart into letters (a multi-token word).
WORDS = "a an the in of on at and red blue house horse cat dog snow style anime photo grain film old".split()
WIDTH = 32  # of every text encoder
TEXT_LAYERS = 3


# ---- tokenizers ------------------------------------------------------------------------------------------


def _byte_pairs(words: list[str], suffix: str = "") -> tuple[list[str], list[tuple[str, str]]]:
    """Vocabulary and merges of a byte-level BPE in which each of `words` is one token.

    The library's own trainer breaks ties differently in every process; this one goes by the alphabet.
    """
    spelled = [[*word[:-1], word[-1] + suffix] for word in words]
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_join(symbols, best) for symbols in spelled]
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + suffix for letter in letters), *(a + b for a, b in merges)]
    return list(dict.fromkeys(pieces)), merges


def _join(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def clip_tokenizer(pad_token: str = "<|endoftext|>") -> CLIPTokenizer:
    """A CLIP tokenizer with the 77-token window; Stable Diffusion 2 pads with `!`."""
    pieces, merges = _byte_pairs(WORDS, "</w>")
    vocab = {piece: index for index, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, pad_token=pad_token, model_max_length=77)


def t5_tokenizer() -> T5Tokenizer:
    """A T5 (Unigram) tokenizer that knows the words and ASCII; anything else is unknown."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -4.0)]
    pieces += [("▁" + word, -3.0) for word in WORDS]
    pieces += [(sign, -6.0) for sign in string.ascii_letters + string.digits + string.punctuation]
    return T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512)


def qwen_tokenizer() -> Qwen2Tokenizer:
    """A Qwen2 tokenizer whose chat template starts with 34 tokens, as the real one's does."""
    template = (
        "system Describe the image by detailing color shape size texture quantity text spatial relationships "
        "of objects and background user assistant"
    )
    words = [*template.split(), *WORDS]
    pieces, merges = _byte_pairs(words)
    merges += [("Ġ", word) for word in words if len(word) > 1]
    pieces += ["Ġ" + word for word in words if len(word) > 1]
    vocab = {piece: index for index, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=merges, model_max_length=1058)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    return tokenizer


# ---- text encoders ---------------------------------------------------------------------------------------


def _clip_config(tokenizer: CLIPTokenizer) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        num_hidden_layers=TEXT_LAYERS,
        num_attention_heads=4,
        projection_dim=WIDTH,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        # Real checkpoints start with std 0.02, which leaves random encoders nearly deaf to words.
        initializer_factor=5.0,
    )


def _clip(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    model = CLIPTextModel(_clip_config(tokenizer))
    # A fresh norm makes every encoding's mean zero, which no trained model does.
    torch.nn.init.normal_(model.final_layer_norm.weight, mean=1.0, std=0.2)
    torch.nn.init.normal_(model.final_layer_norm.bias, mean=0.2, std=0.2)
    return model


def _clip_projected(tokenizer: CLIPTokenizer) -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(_clip_config(tokenizer))


def _t5(tokenizer: T5Tokenizer) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=8, d_ff=2 * WIDTH, num_layers=2, num_heads=4
    )
    return T5EncoderModel(config)


def _qwen(tokenizer: Qwen2Tokenizer) -> Qwen2_5_VLForConditionalGeneration:
    config = Qwen2_5_VLConfig(
        text_config={
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "rope_parameters": {
                "mrope_section": [2, 3, 3],
                "rope_theta": 1e6,
                "rope_type": "default",
                "type": "default",
            },
            "vocab_size": len(tokenizer),
            "bos_token_id": tokenizer.eos_token_id,
            "eos_token_id": tokenizer.eos_token_id,
        },
        vision_config={
            "depth": 1,
            "hidden_size": WIDTH,
            "intermediate_size": WIDTH,
            "num_heads": 2,
            "out_hidden_size": WIDTH,
        },
        vision_start_token_id=len(tokenizer) - 4,
        vision_end_token_id=len(tokenizer) - 3,
        vision_token_id=len(tokenizer) - 2,
    )
    return Qwen2_5_VLForConditionalGeneration(config)


# ---- denoisers and autoencoders --------------------------------------------------------------------------


def _vae(latent_channels: int = 4, **config: Any) -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=latent_channels,
        norm_num_groups=4,
        sample_size=16,
        **config,
    )


def _unet(in_channels: int = 4, cross_attention_dim: int = WIDTH, **config: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=in_channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=cross_attention_dim,
        attention_head_dim=4,
        norm_num_groups=4,
        **config,
    )


def _ddim(**config: Any) -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        **config,
    )


# ---- one builder per family ------------------------------------------------------------------------------


def _stable_diffusion_parts(pad_token: str = "<|endoftext|>", in_channels: int = 4) -> dict[str, Any]:
    tokenizer = clip_tokenizer(pad_token)
    return {
        "vae": _vae(),
        "text_encoder": _clip(tokenizer),
        "tokenizer": tokenizer,
        "unet": _unet(in_channels),
        "scheduler": _ddim(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


def build_sd1() -> StableDiffusionPipeline:
    """Stable Diffusion 1 text to image."""
    return StableDiffusionPipeline(**_stable_diffusion_parts())


def build_sd2() -> StableDiffusionPipeline:
    """Stable Diffusion 2: v-prediction, and a tokenizer that pads with `!`."""
    parts = _stable_diffusion_parts("!")
    parts["scheduler"] = _ddim(prediction_type="v_prediction")
    return StableDiffusionPipeline(**parts)


def build_sd1_img2img() -> StableDiffusionImg2ImgPipeline:
    """Stable Diffusion 1 image to image."""
    return StableDiffusionImg2ImgPipeline(**_stable_diffusion_parts())


def build_sd1_inpaint() -> StableDiffusionInpaintPipeline:
    """Stable Diffusion 1 inpainting with the plain 4-channel denoiser."""
    return StableDiffusionInpaintPipeline(**_stable_diffusion_parts())


def build_sd1_inpaint9() -> StableDiffusionInpaintPipeline:
    """Stable Diffusion 1 inpainting with the 9-channel denoiser (latents, mask, masked image)."""
    return StableDiffusionInpaintPipeline(**_stable_diffusion_parts(in_channels=9))


def build_sd1_controlnet() -> StableDiffusionControlNetPipeline:
    """Stable Diffusion 1 with a ControlNet."""
    parts = _stable_diffusion_parts()
    controlnet = ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(8, 16))
    for parameter in controlnet.parameters():  # its zero convolutions would make it do nothing
        torch.nn.init.normal_(parameter, std=0.05)
    return StableDiffusionControlNetPipeline(**parts, controlnet=controlnet)


def build_sdxl() -> StableDiffusionXLPipeline:
    """Stable Diffusion XL: two encoders, a pooled vector, zeros for a missing negative prompt."""
    tokenizer, tokenizer_2 = clip_tokenizer(), clip_tokenizer("!")
    return StableDiffusionXLPipeline(
        vae=_vae(),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_clip_projected(tokenizer_2),
        tokenizer_2=tokenizer_2,
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=WIDTH + 6 * 8,
        ),
        scheduler=EulerDiscreteScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        force_zeros_for_empty_prompt=True,
        add_watermarker=False,
    )


def build_sd3(*, t5: bool = True) -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 with its three encoders, or without T5."""
    tokenizer, tokenizer_2 = clip_tokenizer(), clip_tokenizer("!")
    tokenizer_3 = t5_tokenizer() if t5 else None
    return StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=1,
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            caption_projection_dim=32,
            joint_attention_dim=2 * WIDTH,
            pooled_projection_dim=2 * WIDTH,
            out_channels=16,
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=_vae(latent_channels=16, shift_factor=0.06),
        text_encoder=_clip_projected(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_clip_projected(tokenizer_2),
        tokenizer_2=tokenizer_2,
        text_encoder_3=_t5_wide(tokenizer_3) if tokenizer_3 else None,
        tokenizer_3=tokenizer_3,
    )


def _t5_wide(tokenizer: T5Tokenizer) -> T5EncoderModel:
    """SD3 pads both CLIP outputs to T5's width, so T5 must be at least as wide as their sum."""
    config = T5Config(
        vocab_size=len(tokenizer), d_model=2 * WIDTH, d_kv=8, d_ff=WIDTH, num_layers=2, num_heads=4
    )
    return T5EncoderModel(config)


def build_sd3_without_t5() -> StableDiffusion3Pipeline:
    """Stable Diffusion 3 loaded without its T5 encoder."""
    return build_sd3(t5=False)


def build_flux() -> FluxPipeline:
    """FLUX: the sequence from T5, the pooled vector from CLIP."""
    tokenizer, tokenizer_2 = clip_tokenizer(), t5_tokenizer()
    return FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=_vae(
            latent_channels=1,
            use_quant_conv=False,
            use_post_quant_conv=False,
            shift_factor=0.06,
            scaling_factor=1.5,
        ),
        text_encoder=_clip(tokenizer),
        tokenizer=tokenizer,
        text_encoder_2=_t5(tokenizer_2),
        tokenizer_2=tokenizer_2,
        transformer=FluxTransformer2DModel(
            patch_size=1,
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            pooled_projection_dim=WIDTH,
            axes_dims_rope=[4, 4, 8],
            guidance_embeds=True,
        ),
    )


def build_qwen_image() -> QwenImagePipeline:
    """Qwen-Image: a chat model as text encoder, sequences of any length with a mask."""
    tokenizer = qwen_tokenizer()
    return QwenImagePipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.02),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1],
            num_res_blocks=1,
            temperal_downsample=[True],
            latents_mean=[0.0] * 4,
            latents_std=[1.0] * 4,
        ),
        text_encoder=_qwen(tokenizer),
        tokenizer=tokenizer,
        transformer=QwenImageTransformer2DModel(
            patch_size=2,
            in_channels=16,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=WIDTH,
            axes_dims_rope=(4, 6, 6),
        ),
    )


def _listen(pipe: DiffusionPipeline) -> None:
    """Make random transformers hear the text, so that a wrong embedding shows in the picture."""
    transformer = pipe.components.get("transformer")
    for name in ("context_embedder", "txt_in"):
        if hasattr(transformer, name):
            getattr(transformer, name).weight.data.mul_(10)
    for name, parameter in transformer.named_parameters() if transformer is not None else ():
        if name.endswith(
            ("norm_out.linear.weight", "proj_out.weight", "to_out.0.weight", "attn.to_v.weight")
        ):
            parameter.data.mul_(3)


BUILDERS: dict[str, Callable[[], DiffusionPipeline]] = {
    "sd1": build_sd1,
    "sd2": build_sd2,
    "sd1-img2img": build_sd1_img2img,
    "sd1-inpaint": build_sd1_inpaint,
    "sd1-inpaint9": build_sd1_inpaint9,
    "sd1-controlnet": build_sd1_controlnet,
    "sdxl": build_sdxl,
    "sd3": build_sd3,
    "sd3-without-t5": build_sd3_without_t5,
    "flux": build_flux,
    "qwen-image": build_qwen_image,
}


def build(name: str) -> DiffusionPipeline:
    """Build the named pipeline with the same random weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe = BUILDERS[name]()
        for component in pipe.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval()
        _listen(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def load(folder: Path) -> DiffusionPipeline:
    """Load a saved tiny pipeline through the stock loader."""
    absent = {"text_encoder_3": None, "tokenizer_3": None} if "sd3-without-t5" in folder.name else {}
    pipe = DiffusionPipeline.from_pretrained(folder, **absent)
    pipe.set_progress_bar_config(disable=True)
    return pipe
