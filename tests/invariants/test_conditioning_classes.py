"""What the pictures of a DF-Prompt must hold in every pipeline class that a family names, the later ones too.

What the denoisers of these classes hear is checked in tests/contracts/test_text_adapter_pipelines.py.
"""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import pytest
import torch

import dfprompt
from dfprompt.conditioning.capabilities import FAMILIES, Capabilities
from dfprompt.errors import DFPromptWarning
from runs import SIZE, SOURCES, generators, length_arguments, picture


def takes(kind: str, argument: str) -> bool:
    """Whether the stock call of a class has an argument of this name."""
    return argument in inspect.signature(getattr(diffusers, kind).__call__).parameters


CLASSES = [pytest.param(family, kind, id=kind) for family in FAMILIES for kind in family.pipelines]
SEEDS = (5, 6)
NEGATIVES = ["film", "a dog"]
# What the classes ask for besides prompts: each is given what its stock call takes. Of the 4 steps those
# that take a strength run the last 3.
TO_DFPROMPT = {"num_inference_steps": 4, "strength": 0.75, "height": SIZE, "width": SIZE}
TO_THE_CALL = {
    "image": [picture(), picture(3)],
    "mask_image": [picture(1).convert("L")] * 2,
    "control_image": [picture(2)] * 2,
    "true_cfg_scale": 2.0,
}
# float32 on the CPU: a row may be summed in another order next to other rows; what counts is far above.
TOLERANCE, AUDIBLE = 2e-5, 1e-3


def build(tiny_pipe: Any, family: Capabilities, kind: str) -> Any:
    """The class made of its family's tiny components, with a ControlNet that acts where it takes one."""
    parts = dict(tiny_pipe(SOURCES[family.family]).components)
    taken = inspect.signature(getattr(diffusers, kind)).parameters
    if "controlnet" in taken:
        controlnet = diffusers.ControlNetModel.from_unet(
            parts["unet"], conditioning_embedding_out_channels=(8, 16)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for parameter in controlnet.parameters():  # its zero convolutions would make it do nothing
                torch.nn.init.normal_(parameter, std=0.05)
        parts["controlnet"] = controlnet.eval()
    if "requires_safety_checker" in taken:
        parts["requires_safety_checker"] = False
    pipe = getattr(diffusers, kind)(**{name: part for name, part in parts.items() if name in taken})
    pipe.set_progress_bar_config(disable=True)
    return pipe


def arguments(pipe: Any, family: Capabilities, offered: dict[str, Any]) -> dict[str, Any]:
    """Of what is offered, what the stock call takes; and a short text window where it has a choice."""
    offered = {**offered, **length_arguments(SOURCES[family.family])}
    return {name: value for name, value in offered.items() if takes(type(pipe).__name__, name)}


def draw(pipe: Any, family: Capabilities, inputs: Any) -> torch.Tensor:
    """Run the stock call and return pictures (B,3,H,W) in [0,1]."""
    everything = {**arguments(pipe, family, TO_THE_CALL), **inputs}
    pictures: torch.Tensor = pipe(**everything, generator=generators(*SEEDS), output_type="pt").images
    return pictures


def steer(pipe: Any, family: Capabilities, prompts: list[str]) -> torch.Tensor:
    """Draw DF-Prompts."""
    with dfprompt.attach(pipe, prompts, NEGATIVES, **arguments(pipe, family, TO_DFPROMPT)) as inputs:
        return draw(pipe, family, inputs)


@pytest.mark.parametrize(("family", "kind"), CLASSES)
@pytest.mark.few(6)
def test_plain_prompts_are_bit_identical_to_the_stock_call(tiny_pipe, family, kind):
    pipe, prompts = build(tiny_pipe, family, kind), ["a red house", "an old blue cat in the snow"]
    texts = {"prompt": prompts, "negative_prompt": NEGATIVES, **arguments(pipe, family, TO_DFPROMPT)}
    assert torch.equal(steer(pipe, family, prompts), draw(pipe, family, texts))


@pytest.mark.parametrize(("family", "kind"), CLASSES)
@pytest.mark.few(6)
def test_a_late_control_gives_a_picture_of_its_own(tiny_pipe, family, kind):
    pipe = build(tiny_pipe, family, kind)
    weight = "" if family.weighting is None else ":1.5"
    prompts = ("", ", old blue cat", f", [old blue cat:full{weight}]", f", [old blue cat:late{weight}]")
    *others, late = (steer(pipe, family, [f"a red house{part}", "a dog"]) for part in prompts)
    assert late.shape == (2, 3, SIZE, SIZE)
    assert torch.isfinite(late).all()
    for other in others:
        assert (late[0] - other[0]).abs().max() > AUDIBLE
        torch.testing.assert_close(late[1], other[1], atol=TOLERANCE, rtol=0)  # this row has no control


# `pytest.warns` passes on, under this module's name, what diffusers' own schedulers make numpy say.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize(("family", "kind"), [each for each in CLASSES if takes(each.values[1], "strength")])
@pytest.mark.few(4)
def test_a_range_is_counted_from_the_whole_run_where_only_its_tail_is_run(tiny_pipe, family, kind):
    pipe = build(tiny_pipe, family, kind)
    without = steer(pipe, family, ["a red house", "a dog"])
    with pytest.warns(DFPromptWarning, match="acts at none of the 3 steps"):
        before = steer(pipe, family, ["a red house, [old blue cat:1->0.75]", "a dog"])
    first = steer(pipe, family, ["a red house, [old blue cat:0.75->0.5]", "a dog"])
    torch.testing.assert_close(before, without, atol=TOLERANCE, rtol=0)
    assert (first[0] - without[0]).abs().max() > AUDIBLE
