"""Every pipeline class that a family claims really runs DF-Prompts: its denoiser hears each step's text."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

import dfprompt
from dfprompt.conditioning.capabilities import FAMILIES
from runs import SIZE, SOURCES, generators, length_arguments, picture

FIRST, SECOND = "a red house", "an old blue cat in the snow"
CLASSES = [(family.family, kind) for family in FAMILIES for kind in family.pipelines]


def build(tiny_pipe: Any, family: str, kind: str) -> Any:
    parts = dict(tiny_pipe(SOURCES[family]).components)
    if "ControlNet" in kind:
        parts["controlnet"] = diffusers.ControlNetModel.from_unet(
            parts["unet"], conditioning_embedding_out_channels=(8, 16)
        )
    if family == "stable-diffusion":
        parts["requires_safety_checker"] = False
    pipe = getattr(diffusers, kind)(**parts)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def call_arguments(family: str, kind: str) -> dict[str, Any]:
    size = {"height": SIZE, "width": SIZE}
    guided = {"true_cfg_scale": 2.0} if family in ("flux", "qwen-image") else {}
    arguments: dict[str, Any] = {**size, **guided}
    if "Inpaint" in kind:
        arguments |= {"image": picture(), "mask_image": picture(1).convert("L")}
    elif "Img2Img" in kind:
        arguments["image"] = picture()
        arguments = arguments if family in ("flux", "qwen-image", "sd3") else arguments | {"height": None}
    elif "ControlNet" in kind:
        arguments["image"] = picture()
    if "ControlNet" in kind and ("Inpaint" in kind or "Img2Img" in kind):
        arguments["control_image"] = picture(2)
    unknown = set(arguments) - set(_parameters(kind))
    return {name: value for name, value in arguments.items() if value is not None and name not in unknown}


def _parameters(kind: str) -> list[str]:
    import inspect

    return list(inspect.signature(getattr(diffusers, kind).__call__).parameters)


def prepared_arguments(family: str, kind: str) -> dict[str, Any]:
    return {
        "num_inference_steps": 4,
        **length_arguments(SOURCES[family]),
        **({"strength": 1.0} if "strength" in _parameters(kind) else {}),
    }


@pytest.mark.parametrize(("family", "kind"), CLASSES)
@pytest.mark.few(6)
def test_the_denoiser_hears_what_was_compiled(tiny_pipe, family, kind):
    pipe = build(tiny_pipe, family, kind)
    guided = family not in ("flux", "qwen-image") or "true_cfg_scale" in _parameters(kind)
    separate = family in ("flux", "qwen-image")
    voices: list[torch.Tensor] = []

    def listen(_module: Any, _arguments: Any, keywords: Any) -> None:
        voices.append(keywords["encoder_hidden_states"].clone())

    prompt, negative = f"[{FIRST}:early][{SECOND}:late]", "[ugly:early] film" if guided else None
    with dfprompt.attach(pipe, prompt, negative, **prepared_arguments(family, kind)) as inputs:
        handle = (getattr(pipe, "unet", None) or pipe.transformer).register_forward_pre_hook(
            listen, with_kwargs=True
        )
        call = {**inputs, **call_arguments(family, kind)}
        pictures = pipe(**call, generator=generators(0)[0], output_type="pt").images
        handle.remove()
    assert pictures.shape[0] == 1
    assert torch.isfinite(pictures).all()
    expected = []
    for evaluation in range(4):
        at = inputs.compiled.at(evaluation)
        sides = [at["prompt_embeds"], *([at["negative_prompt_embeds"]] if guided else [])]
        expected += sides if separate else [torch.cat(sides[::-1])]
    assert len(voices) == len(expected)
    for voice, text in zip(voices, expected, strict=True):
        assert torch.equal(voice, text)


@pytest.mark.parametrize(("family", "kind"), CLASSES)
@pytest.mark.few(6)
def test_plain_text_is_bit_identical_to_the_stock_call(tiny_pipe, family, kind):
    pipe = build(tiny_pipe, family, kind)
    arguments = {**call_arguments(family, kind), "output_type": "pt"}
    inputs = dfprompt.prepare(pipe, FIRST, **prepared_arguments(family, kind))
    ours = pipe(**{**inputs, **arguments}, generator=generators(0)[0]).images
    stock = {**prepared_arguments(family, kind), **arguments}
    assert torch.equal(ours, pipe(FIRST, **stock, generator=generators(0)[0]).images)
