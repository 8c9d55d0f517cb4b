"""Offloading switched on before or after preparing; on the CPU with accelerate's real hooks."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import accelerate
import pytest
import torch

from dfprompt import attach, prepare
from runs import draw

PROMPTS = ["[a red house:early][an old blue cat:late]", "a dog, [film grain:late:1.4]"]
LENGTH = {"sd3": {"max_sequence_length": 32}, "flux": {"max_sequence_length": 32}}


def offload(pipe: Any, kind: str) -> None:
    """What enable_model_cpu_offload and enable_sequential_cpu_offload do, with the CPU as accelerator."""
    previous = None
    for name in pipe.model_cpu_offload_seq.split("->"):
        model = getattr(pipe, name, None)
        if not isinstance(model, torch.nn.Module):
            continue
        if kind == "model":
            _, previous = accelerate.cpu_offload_with_hook(model, "cpu", prev_module_hook=previous)
        else:
            accelerate.cpu_offload(model, "cpu", offload_buffers=bool(model._parameters))


def pictures(pipe: Any, name: str, way: str, kind: str | None, *, after: bool) -> torch.Tensor:
    with ExitStack() as stack:
        if kind and not after:
            offload(pipe, kind)
        arguments = {"num_inference_steps": 4, **LENGTH.get(name, {})}
        if way == "attach":
            inputs = stack.enter_context(attach(pipe, PROMPTS, **arguments))
        else:
            # Weights that act in the attention, SD3's default, need a hook that a stock call has not.
            rule = {"weighting": "comfy"} if name == "sd3" else {}
            inputs = prepare(pipe, PROMPTS, **arguments, **rule)
        if kind and after:
            offload(pipe, kind)
        return draw(pipe, name, inputs, (0, 1))


@pytest.mark.parametrize(
    ("name", "way"),
    [(name, "prepare") for name in ("sd1", "sdxl", "sd3")]
    + [(name, "attach") for name in ("sd3", "flux", "qwen-image")],
)
@pytest.mark.parametrize("kind", ["model", "sequential"])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.few(6)
def test_pictures_are_the_same_with_offloading(tiny_pipe, name, way, kind, after):
    truth = pictures(tiny_pipe(name), name, way, None, after=False)
    found = pictures(tiny_pipe(name), name, way, kind, after=after)
    torch.testing.assert_close(found, truth, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_tensors_are_handed_out_where_the_pipeline_runs_by_then(tiny_pipe, monkeypatch, name):
    """These pipelines do not move the embeddings they are given themselves."""
    pipe = tiny_pipe(name)
    with attach(pipe, PROMPTS, num_inference_steps=4) as inputs:
        assert inputs["prompt_embeds"].device.type == "cpu"
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
        monkeypatch.setattr(type(pipe), "_execution_device", torch.device("meta"))
        assert {tensor.device.type for tensor in dict(**inputs).values() if torch.is_tensor(tensor)} == {
            "meta"
        }


def test_a_swap_follows_the_device_and_type_of_the_run(tiny_pipe):
    pipe = tiny_pipe("sd1")
    inputs = prepare(pipe, PROMPTS, num_inference_steps=4)
    running = torch.empty(4, 77, 32, device="meta", dtype=torch.float16)
    pipe._num_timesteps = 4
    fresh = inputs["callback_on_step_end"](pipe, 1, None, {"prompt_embeds": running})["prompt_embeds"]
    assert (fresh.device.type, fresh.dtype, fresh.shape) == ("meta", torch.float16, running.shape)
