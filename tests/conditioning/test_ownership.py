"""A hook acts for its own run, thread and pipe only, and ends with the run however that ends."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch

from dfprompt import attach
from dfprompt.conditioning.ownership import OwnRun, RunHooks
from dfprompt.errors import GenerationError
from property_profiles import examples
from runs import draw, length_arguments

SWITCH = "[a red house:early][an old blue cat in the snow:late]"
STEPS = {"num_inference_steps": 4}


class Denoiser(torch.nn.Module):
    """Two layers, and a failure on demand."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.Identity()
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.fails:
            raise MemoryError("out of memory")
        return self.inner(x) + 0


def test_hooks_act_on_denoiser_and_inner_modules_and_know_where_the_run_is():
    model, seen = Denoiser(), []
    with RunHooks([model], OwnRun()) as hooks:
        hooks.on_input(model, lambda _m, args, kwargs: ((args[0] + 1,), kwargs))
        hooks.on_output(
            model.inner, lambda _m, _i, out: seen.append((hooks.evaluation, hooks.call)) or out * 10
        )
        for evaluation in range(2):
            hooks.begin(evaluation)
            assert [float(model(torch.ones(1))) for _ in range(2)] == [20, 20]
        assert float(model.inner(torch.ones(1))) == 1  # not inside a call of the denoiser
    assert seen == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert float(model(torch.ones(1))) == 1
    assert not any((m._forward_hooks, m._forward_pre_hooks) != ({}, {}) for m in model.modules())


def test_a_call_that_is_not_ours_or_paused_is_left_alone():
    model, ours = Denoiser(), [True]
    with RunHooks([model], lambda: ours[0]) as hooks:
        hooks.on_output(model.inner, lambda _m, _i, out: out * 10)
        with hooks.paused():
            assert float(model(torch.ones(1))) == 1
        model.fails = True
        with pytest.raises(MemoryError):
            model(torch.ones(1))
        model.fails, ours[0] = False, False
        assert float(model.inner(torch.ones(1))) == 1  # the call that failed is over
        assert float(model(torch.ones(1))) == 1


def test_another_thread_is_another_run():
    model, results = Denoiser(), []
    with RunHooks([model], OwnRun()) as hooks:
        hooks.on_output(model.inner, lambda _m, _i, out: out * 10)
        thread = threading.Thread(target=lambda: results.append(float(model(torch.ones(1)))))
        thread.start()
        thread.join()
        assert (results, float(model(torch.ones(1)))) == ([1.0], 10.0)


def sibling(pipe: Any, kind: Any = None) -> Any:
    """A second pipeline around the same parts, with a scheduler of its own."""
    other = (kind or type(pipe))(**{**pipe.components, "scheduler": copy.deepcopy(pipe.scheduler)})
    other.set_progress_bar_config(disable=True)
    return other


def interrupt(pipe: Any, index: int, _timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
    pipe._interrupt = index >= 1
    return tensors


@pytest.mark.parametrize("negative", [None, "[ugly film:0.75->0.25] dog"])
@pytest.mark.parametrize("name", ["flux", "qwen-image"])
def test_a_run_that_broke_off_leaves_another_pipe_alone(tiny_pipe, name, negative):
    """Interrupted or failed between two steps; then another pipe of the same denoiser runs in the block."""
    pipe = tiny_pipe(name)
    other = sibling(pipe)
    guidance = {"true_cfg_scale": 2.0} if negative else {}
    stock = {"prompt": ["a dog"], **STEPS, **length_arguments(name)}
    truth = draw(other, name, stock, (0,))
    with attach(
        pipe, SWITCH, negative, callback_on_step_end=interrupt, **STEPS, **length_arguments(name)
    ) as inputs:
        draw(pipe, name, inputs, (0,), **guidance)
        assert torch.equal(draw(other, name, stock, (0,)), truth)
        pipe.scheduler.step, step = None, pipe.scheduler.step
        with pytest.raises(TypeError):
            draw(pipe, name, inputs, (0,), **guidance)
        assert torch.equal(draw(other, name, stock, (0,)), truth)
        pipe.scheduler.step = step


def test_sd3_text_after_a_broken_image_run(tiny_pipe):
    from diffusers import StableDiffusion3Img2ImgPipeline

    other = tiny_pipe("sd3")
    pipe = sibling(other, StableDiffusion3Img2ImgPipeline)
    stock = {"prompt": ["a dog"], **STEPS, **length_arguments("sd3")}
    truth = draw(other, "sd3", stock, (0,))
    with attach(
        pipe, SWITCH, strength=1.0, callback_on_step_end=interrupt, **STEPS, **length_arguments("sd3")
    ) as inputs:
        draw(pipe, "sd3-img2img", inputs, (0,))
        assert torch.equal(draw(other, "sd3", stock, (0,)), truth)


def test_inputs_used_after_their_block_raise(tiny_pipe):
    for name in ("flux", "qwen-image"):
        pipe = tiny_pipe(name)
        with attach(pipe, SWITCH, **STEPS, **length_arguments(name)) as inputs:
            pass
        with pytest.raises(GenerationError, match="after their block"):
            draw(pipe, name, inputs, (0,))


def test_a_callback_that_somebody_wrapped_is_refused(tiny_pipe):
    """The run would not be known as ours, and every step would hear the first one's text."""
    pipe = tiny_pipe("flux")
    with attach(pipe, SWITCH, **STEPS, **length_arguments("flux")) as inputs:
        own = inputs["callback_on_step_end"]
        wrapped = {**inputs, "callback_on_step_end": lambda *arguments: own(*arguments)}
        with pytest.raises(GenerationError, match="went past the hook"):
            draw(pipe, "flux", wrapped, (0,))


@pytest.mark.slow
def test_two_threads_two_pipes_one_denoiser(tiny_pipe):
    """200 pictures or a third of them, each with its own schedule, all equal to the same run alone."""
    pipe = tiny_pipe("flux")
    pipes = [pipe, sibling(pipe)]
    prompts = [SWITCH, "[a dog:1->0.75][an old house:0.75->0]", "a cat, [snow:late]"]
    arguments = {"num_inference_steps": 2, **length_arguments("flux")}

    def steer(one: Any, number: int) -> torch.Tensor:
        negative = "[ugly:early] dog" if number % 2 else None
        with attach(one, prompts[number % 3], negative, **arguments) as inputs:
            return draw(one, "flux", inputs, (number % 3,), true_cfg_scale=2.0 if negative else 1.0)

    truth = [steer(pipe, number) for number in range(6)]
    results: list[list[bool]] = [[], []]
    often = examples(100)

    def work(which: int) -> None:
        for number in range(often):
            results[which].append(torch.equal(steer(pipes[which], number), truth[number % 6]))

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[True] * often] * 2
    assert not pipe.transformer._forward_pre_hooks
