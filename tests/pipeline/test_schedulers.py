"""Schedulers by name: configured from the model, or refused."""

from __future__ import annotations

import inspect
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)

import tiny_pipelines
from dfprompt.errors import ConfigError, DFPromptError, UnsupportedPipelineError
from dfprompt.pipeline.schedulers import CHOICES, make_scheduler, model_kind, schedulers_for
from runs import draw, generators, length_arguments
from worlds.mini import denoiser

LATENT = {"clip_sample": False, "set_alpha_to_one": False, "timestep_spacing": "trailing"}


def latents(pipe: Any, name: str, steps: int, seed: int = 3) -> torch.Tensor:
    arguments = {"prompt": ["a red house"], "num_inference_steps": steps, **length_arguments(name)}
    found: torch.Tensor = pipe(
        **arguments, height=16, width=16, generator=generators(seed), output_type="latent"
    ).images
    return found


def distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """Relative L2 distance of two results."""
    return float((first - second).norm() / second.norm())


@pytest.mark.parametrize("name", ["sd3", "flux"])
@pytest.mark.few(1)
def test_ten_unipc_steps_land_where_two_hundred_own_steps_do(tiny_pipe: Any, name: str) -> None:
    pipe = tiny_pipe(name)
    inputs = {"prompt": ["a red house"], **length_arguments(name)}
    whole = draw(pipe, name, inputs, (3,), num_inference_steps=200)
    pipe.scheduler = make_scheduler("unipc", pipe)
    assert isinstance(pipe.scheduler, UniPCMultistepScheduler)
    assert distance(draw(pipe, name, inputs, (3,), num_inference_steps=10), whole) < 0.05


@pytest.mark.parametrize("name", ["sd3", "flux"])
def test_so_do_the_latents_of_plain_random_weights(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # The fixtures' transformers are made to listen ten times harder, which bends their paths.
    monkeypatch.setattr(tiny_pipelines, "_listen", lambda pipe: None)
    pipe = tiny_pipelines.build(name)
    whole = latents(pipe, name, 200)
    own = pipe.scheduler
    pipe.scheduler = make_scheduler("unipc", pipe)
    assert distance(latents(pipe, name, 10), whole) < 0.05
    if name == "sd3":  # what the test would see if nothing were carried over; FLUX would not even start
        pipe.scheduler = UniPCMultistepScheduler.from_config(own.config)
        assert distance(latents(pipe, name, 10), whole) > 50


# ---- a model that is known in closed form ---------------------------------------------------------------
# For data that are Gaussian with standard deviation SPREAD the best prediction is a formula, and the path of
# the deterministic samplers keeps x / std(x): noise z ends at SPREAD * z. Whatever is carried over wrongly
# (prediction type, noise schedule, shift, clipping) ends elsewhere.

SPREAD = 0.5
STEPS = 100
# Euler's error is of first order, 3.5 % at 100 steps; the consistency samplers are made for few steps.
LENGTHS = {"euler": 200, "euler_karras": 200, "lcm": 20, "tcd": 20}
NO_SAMPLE_PREDICTION = ("pndm", "euler_a", "dpm2", "dpm2_a")  # diffusers does not implement it there
STOCHASTIC = ("ddpm", "euler_a", "dpm2_a", "sa_solver", "lcm", "tcd", "dpmpp_2m_sde", "dpmpp_2m_sde_karras")


def sample_gaussian(scheduler: Any, predict: Any, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sample `count` numbers with STEPS steps: the noise and what became of it."""
    noise = torch.randn(1, 1, 1, count, generator=torch.Generator().manual_seed(0))
    sample = noise * getattr(scheduler, "init_noise_sigma", 1.0)
    extra = {"generator": torch.Generator().manual_seed(1)}
    takes = "generator" in inspect.signature(scheduler.step).parameters
    for timestep in scheduler.timesteps:
        inputs = (
            scheduler.scale_model_input(sample, timestep)
            if hasattr(scheduler, "scale_model_input")
            else sample
        )
        predicted = predict(inputs, float(timestep))
        sample = scheduler.step(predicted, timestep, sample, **(extra if takes else {})).prev_sample
    return noise.flatten(), sample.flatten()


def predict_gaussian(kind: str, betas: torch.Tensor) -> Any:
    kept = (1 - betas.double()).cumprod(0).numpy()

    def predict(x: torch.Tensor, timestep: float) -> torch.Tensor:
        kept_now = float(np.exp(np.interp(timestep, np.arange(len(kept)), np.log(kept))))
        alpha, sigma = kept_now**0.5, (1 - kept_now) ** 0.5
        variance = kept_now * SPREAD**2 + 1 - kept_now
        noise, data = sigma * x / variance, alpha * SPREAD**2 * x / variance
        return {"epsilon": noise, "v_prediction": alpha * noise - sigma * data, "sample": data}[kind]

    return predict


def predict_flow(x: torch.Tensor, timestep: float) -> torch.Tensor:
    sigma = timestep / 1000
    variance = (1 - sigma) ** 2 * SPREAD**2 + sigma**2
    return (sigma - (1 - sigma) * SPREAD**2) * x / variance


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", schedulers_for("diffusion"))
@pytest.mark.few(10)
def test_every_sampler_finds_the_gaussian_it_is_told_of(name: str, kind: str) -> None:
    pipe = stock(
        prediction_type=kind, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", **LATENT
    )
    if kind == "sample" and name in NO_SAMPLE_PREDICTION:
        with pytest.raises(UnsupportedPipelineError, match="cannot run this model"):
            make_scheduler(name, pipe)
        return
    scheduler = make_scheduler(name, pipe)
    scheduler.set_timesteps(LENGTHS.get(name, STEPS))
    noise, found = sample_gaussian(scheduler, predict_gaussian(kind, pipe.scheduler.betas), 20_000)
    if name in STOCHASTIC:  # LCM and TCD jump to the mean at once, so they end too narrow
        narrow = name in ("lcm", "tcd")
        assert float(found.std()) == pytest.approx(SPREAD, rel=0.6 if narrow else 0.08)
    else:
        assert distance(found, SPREAD * noise) < 0.03


@pytest.mark.parametrize("name", schedulers_for("flow"))
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_every_flow_sampler_finds_it_too(name: str, shift: float) -> None:
    class StableDiffusion3Pipeline:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)

    scheduler = make_scheduler(name, StableDiffusion3Pipeline())
    scheduler.set_timesteps(STEPS)
    noise, found = sample_gaussian(scheduler, predict_flow, 1000)
    assert distance(found, SPREAD * noise) < 0.03


def stock(**config: Any) -> Any:
    """A stand-in for a Stable Diffusion pipeline that only its scheduler is read off."""

    class StableDiffusionPipeline:
        scheduler: Any = None

    pipe = StableDiffusionPipeline()
    pipe.scheduler = DDIMScheduler(**config) if config else DDIMScheduler()
    return pipe


def test_the_models_training_is_carried_over() -> None:
    trained = {
        "num_train_timesteps": 500,
        "beta_start": 0.001,
        "beta_end": 0.03,
        "beta_schedule": "scaled_linear",
        "prediction_type": "v_prediction",
        "steps_offset": 1,
        "timestep_spacing": "trailing",
        "rescale_betas_zero_snr": True,
        "clip_sample": False,
        "set_alpha_to_one": False,
    }
    for name in ("unipc", "dpmpp_2m", "euler", "lcm", "ddpm", "ddim"):
        made = make_scheduler(name, stock(**trained)).config
        for key in set(trained) & set(made):
            assert made[key] == trained[key], (name, key)
        assert made["rescale_betas_zero_snr"] is True


def test_trained_betas_reach_the_noise_schedule() -> None:
    betas = [0.01 + 0.001 * step for step in range(100)]
    pipe = stock(trained_betas=betas, num_train_timesteps=100)
    made = make_scheduler("unipc", pipe)
    assert made.betas.tolist() == pytest.approx(betas)


def test_classes_with_other_defaults_take_the_models_values() -> None:
    # LCM's own defaults are Stable Diffusion's betas; this model was trained with DDPM's.
    made = make_scheduler("lcm", stock())
    assert (made.config.beta_start, made.config.beta_end, made.config.beta_schedule) == (
        0.0001,
        0.02,
        "linear",
    )


def test_latent_models_are_not_clipped() -> None:
    pipe = stock()
    pipe.scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear")
    made = make_scheduler("ddim", pipe).config
    assert (made["clip_sample"], made["set_alpha_to_one"]) == (False, False)
    assert make_scheduler("pndm", pipe).config["skip_prk_steps"] is True
    # What the model's own scheduler says goes before that.
    assert make_scheduler("ddpm", stock()).config["clip_sample"] is True


def test_a_flow_is_shifted_as_the_model_was() -> None:
    class StableDiffusion3Pipeline:
        scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)

    made = make_scheduler("unipc", StableDiffusion3Pipeline())
    assert made.config.flow_shift == 3.0
    made.set_timesteps(4)
    # s' = 3s / (1 + 2s) of s = 1, 0.75025, 0.5005, 0.25075
    assert made.timesteps.tolist() == pytest.approx([999, 900, 750, 501], abs=1)
    pipe = StableDiffusion3Pipeline()
    pipe.scheduler = made
    assert make_scheduler("euler", pipe).config.shift == 3.0  # and back again


def test_its_own_name_is_its_own_scheduler() -> None:
    pipe = stock(clip_sample=False, timestep_spacing="trailing")
    for name in ("DDIMScheduler", "ddim", "DDIM"):
        made = make_scheduler(name, pipe)
        assert made is not pipe.scheduler
        assert made.config == pipe.scheduler.config


@pytest.mark.parametrize(
    ("name", "class_name"),
    [
        ("UniPCMultistepScheduler", "UniPCMultistepScheduler"),
        ("unipcmultistep", "UniPCMultistepScheduler"),
        ("DPM++ 2M", "DPMSolverMultistepScheduler"),
        ("dpmsolvermultistep", "DPMSolverMultistepScheduler"),
        ("Euler-A", "EulerAncestralDiscreteScheduler"),
    ],
)
def test_names_in_any_spelling(name: str, class_name: str) -> None:
    assert type(make_scheduler(name, stock())).__name__ == class_name


def test_a_class_name_means_its_plainest_form() -> None:
    made = make_scheduler("DPMSolverMultistepScheduler", stock())
    assert made.config.algorithm_type == "dpmsolver++"
    assert made.config.use_karras_sigmas is False
    assert make_scheduler("dpmpp_2m_sde_karras", stock()).config.algorithm_type == "sde-dpmsolver++"
    assert make_scheduler("dpmpp_2m_sde_karras", stock()).config.use_karras_sigmas is True


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match='there is no scheduler "unpic"; did you mean "unipc"'):
        make_scheduler("unpic", stock())
    with pytest.raises(ConfigError, match="known here: ddim, ddpm"):
        make_scheduler("nothing-like-it", stock())


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("ddim", "flow-matching model; use euler, heun, dpmpp_2m"),
        ("pndm", "flow-matching model"),
        ("dpmpp_2m_sde", "flow-matching model"),
        ("edm_euler", "flow-matching model"),
    ],
)
def test_a_flow_model_refuses_what_cannot_sample_it(tiny_pipe: Any, name: str, said: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match=said):
        make_scheduler(name, tiny_pipe("sd3"))


@pytest.mark.parametrize("name", ["flow_euler", "flow_heun", "edm_euler"])
def test_a_diffusion_model_refuses_them_too(name: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match="a diffusion model"):
        make_scheduler(name, stock())


@pytest.mark.parametrize(
    ("config", "name", "said"),
    [
        ({"rescale_betas_zero_snr": True}, "pndm", "knows no rescale_betas_zero_snr"),
        ({"thresholding": True}, "euler", "knows no thresholding"),
    ],
)
def test_a_class_without_a_word_for_the_models_training_is_refused(
    config: dict[str, Any], name: str, said: str
) -> None:
    with pytest.raises(UnsupportedPipelineError, match=said):
        make_scheduler(name, stock(**config))


@pytest.mark.parametrize(
    ("family", "name"), [("flux", "heun"), ("qwen-image", "dpmpp_2m"), ("qwen-image", "heun")]
)
def test_what_the_stock_call_cannot_drive_is_refused(tiny_pipe: Any, family: str, name: str) -> None:
    with pytest.raises(UnsupportedPipelineError, match=r"use euler or unipc|knows no"):
        make_scheduler(name, tiny_pipe(family))


@pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sd3", "flux", "qwen-image"])
@pytest.mark.few(2)
def test_a_name_that_is_taken_can_be_run(tiny_pipe: Any, family: str) -> None:
    """Every name either runs through the stock call or is refused with our error: nothing else."""
    pipe = tiny_pipe(family)
    own, run = pipe.scheduler, []
    for name in CHOICES:
        try:
            pipe.scheduler = make_scheduler(name, pipe, own)
        except DFPromptError:
            continue
        assert torch.isfinite(latents(pipe, family, 4)).all(), name
        run.append(name)
    assert {"euler", "unipc"} <= set(run)


def test_a_rehearsal_leaves_no_trace() -> None:
    state = torch.random.get_rng_state()
    made = make_scheduler("euler_a", stock())
    assert made.step_index is None
    assert torch.equal(torch.random.get_rng_state(), state)


def test_noise_that_follows_no_seed_is_refused() -> None:
    class StableDiffusion3Pipeline:
        scheduler = FlowMatchEulerDiscreteScheduler(stochastic_sampling=True)

    with pytest.raises(UnsupportedPipelineError, match="follows no seed"):
        make_scheduler("euler", StableDiffusion3Pipeline())


def test_kinds_of_models() -> None:
    assert model_kind(PNDMScheduler()) == "diffusion"
    assert model_kind(EDMEulerScheduler()) == "edm"
    assert model_kind(UniPCMultistepScheduler(use_flow_sigmas=True)) == "flow"
    assert model_kind(UniPCMultistepScheduler(prediction_type="flow_prediction")) == "flow"


def test_an_edm_model_takes_edm_schedulers() -> None:
    pipe = stock()
    pipe.scheduler = EDMEulerScheduler(sigma_max=120.0)
    made = make_scheduler("dpmpp_2m", pipe)
    assert type(made) is diffusers.EDMDPMSolverMultistepScheduler
    assert made.config.sigma_max == 120.0
    with pytest.raises(UnsupportedPipelineError, match="an EDM model; use euler, dpmpp_2m"):
        make_scheduler("unipc", pipe)


@pytest.mark.parametrize("spacing", ["use_exponential_sigmas", "use_beta_sigmas"])
@pytest.mark.parametrize("name", ["euler_karras", "dpmpp_2m_karras", "dpmpp_2m_sde_karras"])
def test_a_named_spacing_replaces_the_models_own(name: str, spacing: str) -> None:
    pipe = stock()
    pipe.scheduler = UniPCMultistepScheduler(**{spacing: True})
    scheduler = make_scheduler(name, pipe)
    assert scheduler.config["use_karras_sigmas"]
    assert not scheduler.config[spacing]
    kept = make_scheduler("euler", pipe)
    assert kept.config[spacing], "a name without a spacing keeps the model's"


def test_karras_spacing_up_to_an_infinite_noise_level_is_refused() -> None:
    pipe = stock()
    pipe.scheduler = denoiser.make_scheduler()
    with pytest.raises(UnsupportedPipelineError, match=r"first steps on one timestep .* without karras"):
        make_scheduler("dpmpp_2m_karras", pipe)
    kept = make_scheduler("dpmpp_2m", pipe)
    assert not kept.config["use_exponential_sigmas"], "it cannot hold the bounds of the model's own spacing"
