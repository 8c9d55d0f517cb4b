"""What every picture of a DF-Prompt must hold, on every family: plain is plain, rows are independent."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

import dfprompt
from runs import draw, length_arguments

FAMILIES = (
    "sd1",
    "sd2",
    "sd1-img2img",
    "sd1-inpaint",
    "sd1-inpaint9",
    "sd1-controlnet",
    "sdxl",
    "sd3",
    "sd3-without-t5",
    "flux",
    "qwen-image",
)
SAMPLERS = (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
FIRST, SECOND = "a red house", "an old blue cat in the snow"
# float32 on the CPU: a row's convolutions may be summed in another order in another batch.
TOLERANCE = 2e-5


def run(pipe: Any, name: str, prompts: list[str], seeds: tuple[int, ...], **options: Any) -> torch.Tensor:
    """Draw prompts with the tool the family needs: prepare, or attach where only a hook reaches."""
    more = {"strength": 1.0} if "img2img" in name else {}
    arguments = {"num_inference_steps": 4, **length_arguments(name), **more, **options}
    with ExitStack() as stack:
        if name.startswith(("flux", "qwen-image", "sd3")):
            inputs = stack.enter_context(dfprompt.attach(pipe, prompts, **arguments))
        else:
            inputs = dfprompt.prepare(pipe, prompts, **arguments)
        return draw(pipe, name, inputs, seeds)


def stock(pipe: Any, name: str, prompts: list[str], seeds: tuple[int, ...], **more: Any) -> torch.Tensor:
    """Draw plain prompts with the stock call and nothing else."""
    strength = {"strength": 1.0} if "img2img" in name else {}
    arguments = {"prompt": prompts, "num_inference_steps": 4, **length_arguments(name), **strength, **more}
    return draw(pipe, name, arguments, seeds)


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.few(8)
def test_a_batch_without_control_is_bit_identical_to_the_stock_pipeline(tiny_pipe, name, rows):
    pipe = tiny_pipe(name)
    prompts, seeds = [FIRST, SECOND, "a dog"][:rows], (5, 6, 7)[:rows]
    assert torch.equal(run(pipe, name, prompts, seeds), stock(pipe, name, prompts, seeds))


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.few(3)
def test_no_control_is_bit_identical_under_every_sampler(tiny_pipe, sampler):
    pipe = tiny_pipe("sd1")
    pipe.scheduler = sampler.from_config(pipe.scheduler.config)
    prompts = [FIRST, SECOND]
    assert torch.equal(run(pipe, "sd1", prompts, (1, 2)), stock(pipe, "sd1", prompts, (1, 2)))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.few(5)
def test_a_full_range_of_weight_one_is_no_control(tiny_pipe, name):
    pipe = tiny_pipe(name)
    spanned = [f"[{FIRST}:1->0:1]", "an [old blue cat:full] in the snow"]
    assert torch.equal(run(pipe, name, spanned, (1, 2)), stock(pipe, name, [FIRST, SECOND], (1, 2)))


def hand_made_switch(pipe: Any, name: str, seed: int) -> torch.Tensor:
    """The same run with stock tools only: both prompts encoded apart, swapped after half of the steps."""
    stacked = name not in ("flux", "qwen-image")
    first, then = (encode(pipe, name, prompt) for prompt in (FIRST, SECOND))

    def swap(_pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if index == 1:  # at the end of evaluation 1 of 4
            for source, target in SWAPS[name.split("-")[0]].items():
                fresh = then[source]
                tensors[target] = torch.cat([then["negative_" + source], fresh]) if stacked else fresh
        return tensors

    strength = {"strength": 1.0} if "img2img" in name else {}
    inputs = {
        "num_inference_steps": 4,
        "callback_on_step_end": swap,
        "callback_on_step_end_tensor_inputs": list(SWAPS[name.split("-")[0]].values()),
        **first,
        **strength,
    }
    return draw(pipe, name, inputs, (seed,))


SWAPS = {
    "sd1": {"prompt_embeds": "prompt_embeds"},
    "sd2": {"prompt_embeds": "prompt_embeds"},
    "sdxl": {"prompt_embeds": "prompt_embeds", "pooled_prompt_embeds": "add_text_embeds"},
    "sd3": {"prompt_embeds": "prompt_embeds", "pooled_prompt_embeds": "pooled_prompt_embeds"},
}


def encode(pipe: Any, name: str, prompt: str) -> dict[str, torch.Tensor]:
    """The pipeline's own encode_prompt, as keyword arguments."""
    with torch.no_grad():
        if name.startswith("sd3"):
            made = pipe.encode_prompt(prompt, None, None, **length_arguments(name))
        elif name == "sdxl":
            made = pipe.encode_prompt(prompt)
        else:
            made = pipe.encode_prompt(prompt, "cpu", 1, True)
    names = (
        "prompt_embeds",
        "negative_prompt_embeds",
        "pooled_prompt_embeds",
        "negative_pooled_prompt_embeds",
    )
    return dict(zip(names, made, strict=False))


@pytest.mark.parametrize("name", [name for name in FAMILIES if name not in ("flux", "qwen-image")])
@pytest.mark.few(4)
def test_a_whole_prompt_under_one_range_is_the_two_prompt_switch_done_by_hand(tiny_pipe, name):
    pipe = tiny_pipe(name)
    pictures = run(pipe, name, [f"[{FIRST}:early][{SECOND}:late]"], (3,))
    torch.testing.assert_close(pictures, hand_made_switch(pipe, name, 3), atol=TOLERANCE, rtol=0)
    assert (pictures - stock(pipe, name, [FIRST], (3,))).abs().max() > 100 * TOLERANCE


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.few(5)
def test_every_row_of_a_mixed_batch_is_its_own_single_run(tiny_pipe, name):
    pipe = tiny_pipe(name)
    prompts = [
        f"[{FIRST}:early][{SECOND}:late]",
        "a house, [old film grain:0.75->0.25:1.6], photo",
        "a dog",
        "[a cat::0.4->1.5] in the snow, [anime:1->0.75]",
    ]
    together = run(pipe, name, prompts, (1, 2, 3, 4))
    for row, prompt in enumerate(prompts):
        alone = run(pipe, name, [prompt], (row + 1,))
        torch.testing.assert_close(together[row], alone[0], atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("name", ["sd1", "sdxl"])
def test_rows_are_independent_in_half_precision_too(tiny_pipe, name):
    pipe = tiny_pipe(name).to(torch.bfloat16)
    prompts = [f"[{FIRST}:early][{SECOND}:late]", "a [dog::1.4] in the snow"]
    together = run(pipe, name, prompts, (1, 2)).float()
    for row, prompt in enumerate(prompts):
        alone = run(pipe, name, [prompt], (row + 1,)).float()
        # bfloat16 keeps 8 bits: the latents may differ by a rounding, the pictures by a few of them.
        torch.testing.assert_close(together[row], alone[0], atol=0.05, rtol=0)


@pytest.mark.parametrize(
    ("sampler", "options", "evaluations", "half_way"),
    [
        (DDIMScheduler, {}, 10, 401),
        (DPMSolverMultistepScheduler, {}, 10, 451),
        (EulerAncestralDiscreteScheduler, {}, 10, 401),
        (UniPCMultistepScheduler, {}, 10, 451),
        (HeunDiscreteScheduler, {}, 19, 401),
        (KDPM2DiscreteScheduler, {}, 19, 401),
        (PNDMScheduler, {"skip_prk_steps": True}, 11, 401),
        (PNDMScheduler, {"skip_prk_steps": False}, 19, 401),
    ],
)
@pytest.mark.few(3)
def test_a_switch_falls_on_the_sixth_of_ten_steps_under_every_sampler(
    tiny_pipe, sampler, options, evaluations, half_way
):
    """However often a sampler asks the denoiser; `half_way` is the timestep of its sixth step."""
    pipe = tiny_pipe("sd1")
    pipe.scheduler = sampler.from_config(pipe.scheduler.config, **options)
    heard: list[tuple[float, float]] = []

    def listen(_module: Any, arguments: Any, keywords: Any) -> None:
        heard.append((float(arguments[1]), float(keywords["encoder_hidden_states"][-1].sum())))

    handle = pipe.unet.register_forward_pre_hook(listen, with_kwargs=True)
    run(pipe, "sd1", [f"[{FIRST}:early][{SECOND}:late]"], (1,), num_inference_steps=10)
    handle.remove()
    assert len(heard) == evaluations
    switch = next(index for index, (_, voice) in enumerate(heard) if voice != heard[0][1])
    assert heard[switch][0] == half_way
    assert len({voice for _, voice in heard[switch:]}) == 1
    # A second-order sampler looks at it twice: first to correct the step before, then for itself.
    assert [timestep for timestep, _ in heard[:switch]].count(half_way) <= 1
