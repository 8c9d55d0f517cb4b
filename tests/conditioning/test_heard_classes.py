"""Further classes of known families: their weights act, on both sides and in the ControlNets beside them."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

import dfprompt
from runs import SIZE, generators, picture

UNET_CONTROL = {"conditioning_embedding_out_channels": (8, 16)}


def build(tiny_pipe: Any, kind: str) -> tuple[Any, dict[str, Any]]:
    """A pipeline of the class from a tiny one's parts, and what its call needs."""
    source = "flux" if kind.startswith("Flux") else "sdxl" if "XL" in kind else "sd1"
    parts = dict(tiny_pipe(source).components)
    call: dict[str, Any] = {"height": SIZE, "width": SIZE}
    if source == "flux":
        parts["controlnet"] = diffusers.FluxControlNetModel.from_transformer(
            parts["transformer"],
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
        )
        call |= {"control_image": picture(), "true_cfg_scale": 2.0, "max_sequence_length": 32}
    elif "ControlNet" in kind:
        parts["controlnet"] = diffusers.ControlNetModel.from_unet(parts["unet"], **UNET_CONTROL)
        call["image"] = picture()
    if "PAG" in kind:
        parts["pag_applied_layers"] = "mid"
        call |= {"pag_scale": 2.0, "guidance_scale": 3.0}
    if source == "sd1":
        parts["requires_safety_checker"] = False
    pipe = getattr(diffusers, kind)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe, call


@pytest.mark.parametrize(
    "kind",
    [
        "StableDiffusionPAGPipeline",
        "StableDiffusionControlNetPAGPipeline",
        "StableDiffusionXLPAGPipeline",
        "FluxControlNetPipeline",
    ],
)
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
        return torch.as_tensor(output.images)

    plain = run("a red house")
    assert torch.equal(run("a [red::1] house", "[film::1]"), plain)
    against, half, double = (run(f"a [red::{weight}] house") - plain for weight in (-1, 0.5, 2))
    assert against.norm() > 1.2 * half.norm() > 0
    assert (half * double).sum() < 0
    assert (run("a red house", "[film::3]") - plain).abs().max() > 1e-4
    early = run("a [red:early] house")
    assert (run("a [red:early:2] house") - early).abs().max() > 1e-4
