"""Image to image, inpainting, filling, adapters: the same denoisers, entered elsewhere, steered by `run`.

The pipelines are made as people make them, from one that is loaded.
"""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch

import dfprompt
import tiny_zoo
from by_hand import by_hand, stock, tensor
from runs import picture

A, B = "a red house", "an old blue cat in the snow"
SWITCH = f"[{A}:early][{B}:late]"
STEPS = 4
SIZE = {"height": 16, "width": 16}
MASKED = {"image": picture(), "mask_image": picture(1).convert("L")}
SHORT = {"max_sequence_length": 24}
# Class, the tiny pipeline it is made from, and its call; strength 1 runs every step.
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "StableDiffusionXLImg2ImgPipeline": ("sdxl", {"image": picture(), "strength": 0.75}),
    "StableDiffusionXLInpaintPipeline": ("sdxl", {**MASKED, **SIZE, "strength": 1.0}),
    "StableDiffusion3Img2ImgPipeline": ("sd3", {"image": picture(), "strength": 0.75, **SIZE, **SHORT}),
    "StableDiffusion3InpaintPipeline": ("sd3", {**MASKED, **SIZE, **SHORT, "strength": 1.0}),
    "StableDiffusionAdapterPipeline": ("sd1", {"image": picture(), **SIZE}),
    "StableDiffusionXLAdapterPipeline": ("sdxl", {"image": picture(), **SIZE}),
    "FluxImg2ImgPipeline": ("flux", {"image": picture(), "strength": 0.75, **SIZE, **SHORT}),
    "FluxInpaintPipeline": ("flux", {**MASKED, **SIZE, **SHORT, "strength": 1.0}),
    "FluxKontextPipeline": (
        "flux",
        {"image": picture(), "max_area": 256, "_auto_resize": False, **SIZE, **SHORT},
    ),
    "QwenImageImg2ImgPipeline": ("qwen-image", {"image": picture(), "strength": 0.75, **SIZE}),
    "ChromaImg2ImgPipeline": ("chroma", {"image": picture(), "strength": 0.75, **SIZE, **SHORT}),
    "ZImageImg2ImgPipeline": ("z-image", {"image": picture(), "strength": 0.75, **SIZE}),
}


def _adapter() -> Any:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        sizes = {"channels": [8, 16], "num_res_blocks": 1, "downscale_factor": 4}
        return diffusers.T2IAdapter(**sizes, adapter_type="full_adapter_xl")


def make(name: str, tiny_pipe: Any) -> tuple[Any, dict[str, Any]]:
    source, call = WAYS[name]
    pipe = tiny_zoo.build(source) if source in tiny_zoo.BUILDERS else tiny_pipe(source)
    kind = getattr(diffusers, name)
    more = {"adapter": _adapter()} if "Adapter" in name else {}
    made = kind.from_pipe(pipe, **more)
    made.set_progress_bar_config(disable=True)
    return made, {"num_inference_steps": STEPS, **call}


@pytest.mark.parametrize("name", WAYS)
@pytest.mark.few(4)
def test_a_switch_is_that_done_by_hand(name: str, tiny_pipe: Any) -> None:
    pipe, call = make(name, tiny_pipe)
    noise = {"generator": torch.Generator().manual_seed(0), "output_type": "pt"}
    found = tensor(dfprompt.run(pipe, SWITCH, encode_batch_size=1, **call, **noise))
    run = int(STEPS * call.get("strength", 1.0))
    texts = [{"prompt": text} for text in (A, B)]
    assert torch.equal(found, by_hand(pipe, call, texts, [0, 0, 1, 1][STEPS - run :]))
    for text in texts:
        assert (found - stock(pipe, call, **text)).abs().max() > 1e-5
