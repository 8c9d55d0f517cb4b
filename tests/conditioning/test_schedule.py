"""Which evaluations a run makes: read ahead of the call, compared with what the stock call really does."""

from __future__ import annotations

from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from dfprompt.conditioning.schedule import Schedule, read_schedule
from dfprompt.errors import ConfigError, PromptValueError, UnsupportedPipelineError
from runs import draw

SAMPLERS = [
    "DDIMScheduler",
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "TCDScheduler",
    "UniPCMultistepScheduler",
]
PLMS = {"skip_prk_steps": True}


def with_sampler(pipe: Any, sampler: str, **options: Any) -> Any:
    pipe.scheduler = getattr(diffusers, sampler).from_config(pipe.scheduler.config, **options)
    return pipe


def evaluations_of(pipe: Any, name: str, **arguments: Any) -> list[float]:
    """The timesteps at which the stock call really asks the denoiser."""
    asked: list[float] = []

    def note(_pipe: Any, _index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        asked.append(float(timestep))
        return tensors

    draw(pipe, name, {"prompt": ["a cat"], "callback_on_step_end": note, **arguments}, (0,))
    return asked


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("steps", [5, 12])
@pytest.mark.few(8)
def test_the_evaluations_are_those_of_the_stock_call(tiny_pipe, sampler, steps):
    pipe = with_sampler(tiny_pipe("sd1"), sampler)
    schedule = read_schedule(pipe, num_inference_steps=steps, clock="timestep")
    assert list(schedule.timesteps) == evaluations_of(pipe, "sd1", num_inference_steps=steps)


@pytest.mark.parametrize("sampler", ["DDIMScheduler", "HeunDiscreteScheduler", "UniPCMultistepScheduler"])
@pytest.mark.parametrize("strength", [0.2, 0.5, 0.87, 1.0])
@pytest.mark.few(4)
def test_image_to_image_runs_the_tail(tiny_pipe, sampler, strength):
    pipe = with_sampler(tiny_pipe("sd1-img2img"), sampler)
    schedule = read_schedule(pipe, num_inference_steps=10, strength=strength, clock="timestep")
    arguments = {"num_inference_steps": 10, "strength": strength}
    asked = evaluations_of(pipe, "sd1-img2img", **arguments)
    assert list(schedule.timesteps[schedule.begin :]) == asked
    assert schedule.evaluations == len(asked)


@pytest.mark.parametrize(
    ("sampler", "options", "table"),
    [
        ("DDIMScheduler", {}, [0, 1, 2, 3, 4]),
        ("HeunDiscreteScheduler", {}, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        ("KDPM2DiscreteScheduler", {}, [0, 0, 1, 1, 2, 2, 3, 3, 4]),
        ("PNDMScheduler", PLMS, [0, 0, 1, 2, 3, 4]),
        ("PNDMScheduler", {"skip_prk_steps": False}, [0] * 4 + [1] * 4 + [2] * 4 + [3, 4]),
    ],
)
def test_every_evaluation_belongs_to_a_step(tiny_pipe, sampler, options, table):
    pipe = with_sampler(tiny_pipe("sd1"), sampler, **options)
    assert read_schedule(pipe, num_inference_steps=5).steps == tuple(table)


def test_one_plms_step_is_one_evaluation(tiny_pipe):
    pipe = with_sampler(tiny_pipe("sd1"), "PNDMScheduler", **PLMS)
    assert read_schedule(pipe, num_inference_steps=1).steps == (0,)


@pytest.mark.parametrize("name", ["sd3", "flux", "qwen-image"])
def test_flow_schedules_shift_with_the_size(tiny_pipe, name):
    """The clock `timestep` needs the very timesteps of the call, which depend on the picture's size."""
    pipe = tiny_pipe(name)
    if name == "sd3":
        config = {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15}
        pipe.scheduler = pipe.scheduler.from_config(pipe.scheduler.config, **config)
    # Small base sizes make the shift of a tiny picture visible.
    pipe.scheduler.register_to_config(base_image_seq_len=4, max_image_seq_len=32)
    for size in (16, 32):
        schedule = read_schedule(pipe, num_inference_steps=4, clock="timestep", height=size, width=size)
        asked = evaluations_of(pipe, name, num_inference_steps=4, height=size, width=size)
        assert schedule.timesteps == pytest.approx(asked, abs=1e-3)


def test_given_timesteps_and_sigmas_set_the_schedule(tiny_pipe):
    pipe = with_sampler(tiny_pipe("sd1"), "EulerDiscreteScheduler")
    given = read_schedule(pipe, timesteps=[999, 700, 300, 10], clock="timestep")
    assert (given.num_inference_steps, given.timesteps) == (4, (999, 700, 300, 10))
    assert evaluations_of(pipe, "sd1", timesteps=[999, 700, 300, 10]) == list(given.timesteps)
    # Euler takes the last sigma for where the run ends, not for a step.
    assert len(evaluations_of(pipe, "sd1", sigmas=[12.0, 3.0, 0.5])) == 2
    assert read_schedule(pipe, sigmas=[12.0, 3.0, 0.5]).steps == (0, 1)


def test_defaults_are_the_pipelines_own(tiny_pipe):
    assert read_schedule(tiny_pipe("sd1")).num_inference_steps == 50
    assert read_schedule(tiny_pipe("sd3")).num_inference_steps == 28
    image = read_schedule(tiny_pipe("sd1-img2img"))  # strength 0.8 of 50 steps
    assert (image.num_inference_steps, image.begin, image.evaluations) == (50, 10, 40)


def test_the_schedule_is_read_off_a_copy(tiny_pipe):
    pipe = tiny_pipe("sd1")
    pipe.scheduler.set_timesteps(7)
    read_schedule(pipe, num_inference_steps=20)
    assert len(pipe.scheduler.timesteps) == 7


@pytest.mark.parametrize(
    ("name", "arguments", "kind", "message"),
    [
        ("sd1", {"num_inference_steps": 1001}, ConfigError, "1001 steps are more than the 1000"),
        ("sd1", {"num_inference_steps": 0}, PromptValueError, "between 1 and"),
        ("sd1", {"num_inference_steps": 2.5}, PromptValueError, "must be an integer"),
        ("sd1", {"timesteps": [9], "sigmas": [1.0]}, ConfigError, "pass one of them"),
        ("sd1", {"timesteps": [900, 100], "num_inference_steps": 3}, ConfigError, "2 timesteps are given"),
        ("sd1", {"sigmas": [3.0, 1.0]}, ConfigError, "DDIMScheduler cannot run sigmas"),
        ("sd3", {"timesteps": [900, 100]}, ConfigError, "takes no timesteps"),
        ("sd1", {"strength": 0.5}, ConfigError, "has no strength"),
        ("sd1-img2img", {"strength": 0.0}, PromptValueError, "strength"),
        ("sd1-img2img", {"strength": float("nan")}, PromptValueError, "strength"),
        ("sd1-img2img", {"strength": 0.05, "num_inference_steps": 10}, PromptValueError, "no step to run"),
        ("sd1", {"clock": "sundial"}, PromptValueError, "sundial"),
    ],
)
def test_numbers_no_run_can_have(tiny_pipe, name, arguments, kind, message):
    with pytest.raises(kind, match=message):
        read_schedule(tiny_pipe(name), **arguments)


def test_a_clock_needs_timesteps_that_count_time(tiny_pipe):
    """EDM's are logarithms of noise: read as time, an early span would never act and a late one always."""
    pipe = tiny_pipe("sdxl")
    pipe.scheduler = diffusers.EDMEulerScheduler()
    assert read_schedule(pipe, num_inference_steps=5).num_inference_steps == 5
    with pytest.raises(UnsupportedPipelineError, match=r"EDMEulerScheduler.*clock steps"):
        read_schedule(pipe, num_inference_steps=5, clock="timestep")


def test_a_sampler_with_an_unknown_order_is_refused(tiny_pipe):
    class Odd(diffusers.DDIMScheduler):
        def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
            super().set_timesteps(num_inference_steps, device)
            self.timesteps = self.timesteps.repeat_interleave(3)

    pipe = tiny_pipe("sd1")
    pipe.scheduler = Odd.from_config(pipe.scheduler.config)
    with pytest.raises(UnsupportedPipelineError, match="Odd makes 15 evaluations for 5 steps"):
        read_schedule(pipe, num_inference_steps=5)


def test_evaluations_are_counted_from_the_first_one_made():
    assert Schedule(4, (0, 0, 1, 1, 2, 2, 3), begin=4).evaluations == 3


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_a_schedule_may_be_a_list_an_array_or_a_tensor(tiny_pipe, kind):
    flux, euler = tiny_pipe("flux"), with_sampler(tiny_pipe("sd1"), "EulerDiscreteScheduler")
    sigmas, timesteps = [1.0, 0.75, 0.5, 0.25], [900, 600, 300]
    expected = read_schedule(flux, sigmas=sigmas, clock="timestep")
    assert read_schedule(flux, sigmas=kind(sigmas), clock="timestep").timesteps == pytest.approx(
        expected.timesteps
    )
    assert read_schedule(euler, timesteps=kind(timesteps), clock="timestep").timesteps == (900, 600, 300)


def test_the_number_of_steps_may_be_numpys(tiny_pipe):
    schedule = read_schedule(tiny_pipe("sd1"), num_inference_steps=np.int64(5))
    assert (schedule.num_inference_steps, type(schedule.num_inference_steps)) == (5, int)
