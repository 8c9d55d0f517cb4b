"""Further classes of known families: their weights act, on both sides and in the ControlNets beside them."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch

import dfprompt
from runs import SIZE, generators, picture

UNET_CONTROL = {"conditioning_embedding_out_channels": (8, 16)}


SOURCES = {"Flux": "flux", "StableDiffusion3": "sd3", "StableDiffusionXL": "sdxl", "QwenImage": "qwen-image"}


def build(tiny_pipe: Any, kind: str) -> tuple[Any, dict[str, Any]]:
    """A pipeline of the class from a tiny one's parts, and what its call needs."""
    source = next((known for start, known in SOURCES.items() if kind.startswith(start)), "sd1")
    parts = dict(tiny_pipe(source).components)
    call: dict[str, Any] = {"height": SIZE, "width": SIZE, **add_parts(kind, source, parts)}
    if source in ("flux", "qwen-image"):
        call |= {"true_cfg_scale": 2.0, "max_sequence_length": 32}
    if source == "sd3":
        call["max_sequence_length"] = 24
    if "Img2Img" in kind:
        call |= {"image": picture(), "strength": 1.0}
        call |= {"control_image": picture()} if "ControlNet" in kind else {}
    if "PAG" in kind:
        parts["pag_applied_layers"] = "mid"
        call |= {"pag_scale": 2.0, "guidance_scale": 3.0}
    taken = inspect.signature(getattr(diffusers, kind).__init__).parameters
    parts["requires_safety_checker"] = False
    pipe = getattr(diffusers, kind)(**{name: part for name, part in parts.items() if name in taken})
    pipe.set_progress_bar_config(disable=True)
    return pipe, call


def add_parts(kind: str, source: str, parts: dict[str, Any]) -> dict[str, Any]:
    """Give a class what it has beside the denoiser; return what its call then needs."""
    if "ControlNet" in kind:
        parts["controlnet"] = control(source, parts)
        return {"image" if source in ("sd1", "sdxl") else "control_image": picture()}
    if "AnimateDiff" in kind:
        unet = parts["unet"].config
        parts["motion_adapter"] = diffusers.MotionAdapter(
            block_out_channels=unet.block_out_channels,
            motion_layers_per_block=unet.layers_per_block,
            motion_norm_num_groups=unet.norm_num_groups,
            motion_num_attention_heads=2,
        )
        return {"num_frames": 2}
    if "Kontext" in kind:  # any picture would be enlarged to a megapixel
        return {"image": picture(), "max_area": SIZE * SIZE, "_auto_resize": False}
    return {}


def control(source: str, parts: dict[str, Any]) -> Any:
    """A ControlNet that hears the text beside the denoiser."""
    small = {"num_layers": 1, "attention_head_dim": 16, "num_attention_heads": 2}
    if source == "flux":
        kind = diffusers.FluxControlNetModel
        return kind.from_transformer(parts["transformer"], num_single_layers=1, **small)
    if source == "sd3":
        return diffusers.SD3ControlNetModel.from_transformer(
            parts["transformer"],
            num_layers=1,
            num_extra_conditioning_channels=0,
            load_weights_from_transformer=False,
        )
    if source == "qwen-image":
        return diffusers.QwenImageControlNetModel.from_transformer(parts["transformer"], **small)
    return diffusers.ControlNetModel.from_unet(parts["unet"], **UNET_CONTROL)


@pytest.mark.parametrize(
    "kind",
    [
        "StableDiffusionPAGPipeline",
        "StableDiffusionControlNetPAGPipeline",
        "StableDiffusionXLPAGPipeline",
        "StableDiffusionXLControlNetImg2ImgPipeline",
        "AnimateDiffPipeline",
        "StableDiffusion3ControlNetPipeline",
        "FluxControlNetPipeline",
        "FluxKontextPipeline",
        "QwenImageControlNetPipeline",
    ],
)
@pytest.mark.few(3)
def test_weights_act_on_both_sides(tiny_pipe, kind):
    pipe, call = build(tiny_pipe, kind)

    def run(prompt: str, negative: str = "film") -> torch.Tensor:
        output = dfprompt.run(
            pipe,
            prompt,
            negative,
            num_inference_steps=3,
            generator=generators(0)[0],
            output_type="pt",
            **call,
        )
        return torch.as_tensor(next(iter(output.values())))

    plain = run("a red house")
    assert torch.equal(run("a [red::1] house", "[film::1]"), plain)
    against, half, double = (run(f"a [red::{weight}] house") - plain for weight in (-1, 0.5, 2))
    assert against.norm() > 1.2 * half.norm() > 0
    assert (half * double).sum() < 0
    assert (run("a red house", "[film::3]") - plain).abs().max() > 1e-4
    early = run("a [red:early] house")
    assert (run("a [red:early:2] house") - early).abs().max() > 1e-4
