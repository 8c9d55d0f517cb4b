"""Schedulers by name, configured from the model they are to sample, or refused.

What a model was trained for (its noise schedule, what it predicts, how a flow is shifted) lives in the
configuration of its own scheduler. Another class reads only the keys it knows, some under other names,
and takes its own defaults for the rest: flow models then turn to noise, latent models are clipped.
Here every such property is carried over, and a scheduler that cannot hold it is refused.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import torch

from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.config import nearest
from dfprompt.errors import ConfigError, UnsupportedPipelineError
from dfprompt.excerpt import quote

Kind = Literal["diffusion", "flow", "edm"]


class Choice(NamedTuple):
    """A scheduler class of diffusers, the settings its name stands for, the models it can sample."""

    class_name: str
    settings: Mapping[str, Any] = {}
    kinds: tuple[Kind, ...] = ("diffusion",)


_SOLVER: tuple[Kind, ...] = ("diffusion", "flow")
_KARRAS = {"use_karras_sigmas": True}
_SDE = {"algorithm_type": "sde-dpmsolver++"}
_SPACINGS = ("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas")

CHOICES: Mapping[str, Choice] = {
    "ddim": Choice("DDIMScheduler"),
    "ddpm": Choice("DDPMScheduler"),
    "euler": Choice("EulerDiscreteScheduler"),
    "euler_karras": Choice("EulerDiscreteScheduler", _KARRAS),
    "euler_a": Choice("EulerAncestralDiscreteScheduler"),
    "heun": Choice("HeunDiscreteScheduler"),
    "dpm2": Choice("KDPM2DiscreteScheduler"),
    "dpm2_a": Choice("KDPM2AncestralDiscreteScheduler"),
    "dpmpp_2m": Choice("DPMSolverMultistepScheduler", kinds=_SOLVER),
    "dpmpp_2m_karras": Choice("DPMSolverMultistepScheduler", _KARRAS),
    "dpmpp_2m_sde": Choice("DPMSolverMultistepScheduler", _SDE),
    "dpmpp_2m_sde_karras": Choice("DPMSolverMultistepScheduler", {**_SDE, **_KARRAS}),
    "dpmpp_2s": Choice("DPMSolverSinglestepScheduler", {"lower_order_final": True}, _SOLVER),
    "unipc": Choice("UniPCMultistepScheduler", kinds=_SOLVER),
    "deis": Choice("DEISMultistepScheduler", kinds=_SOLVER),
    "pndm": Choice("PNDMScheduler"),
    "lms": Choice("LMSDiscreteScheduler"),
    "lcm": Choice("LCMScheduler"),
    "tcd": Choice("TCDScheduler"),
    "sa_solver": Choice("SASolverScheduler"),
    "flow_euler": Choice("FlowMatchEulerDiscreteScheduler", kinds=("flow",)),
    "flow_heun": Choice("FlowMatchHeunDiscreteScheduler", kinds=("flow",)),
    "edm_euler": Choice("EDMEulerScheduler", kinds=("edm",)),
    "edm_dpmpp_2m": Choice("EDMDPMSolverMultistepScheduler", kinds=("edm",)),
}
# The same name means another class for models of another kind.
_BY_KIND: Mapping[Kind, Mapping[str, str]] = {
    "diffusion": {},
    "flow": {"euler": "flow_euler", "heun": "flow_heun"},
    "edm": {"euler": "edm_euler", "dpmpp_2m": "edm_dpmpp_2m"},
}
_TITLES: Mapping[Kind, str] = {
    "diffusion": "a diffusion model",
    "flow": "a flow-matching model",
    "edm": "an EDM model",
}

# What a model was trained for, and the value a scheduler that lacks the key has anyway.
_TRAINED: Mapping[Kind, Mapping[str, Any]] = {
    "diffusion": {
        "num_train_timesteps": 1000,
        "beta_start": 0.0001,
        "beta_end": 0.02,
        "beta_schedule": "linear",
        "trained_betas": None,
        "prediction_type": "epsilon",
        "rescale_betas_zero_snr": False,
        "thresholding": False,
    },
    "flow": {
        "num_train_timesteps": 1000,
        "use_dynamic_shifting": False,
        "time_shift_type": "exponential",
        "shift_terminal": None,
        "invert_sigmas": False,
    },
    "edm": {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "prediction_type": "epsilon"},
}
# What the official configurations of latent models say, where the model's own scheduler has no such key:
# the classes' defaults are for pixels in [-1, 1].
_LATENT = {"clip_sample": False, "set_alpha_to_one": False, "skip_prk_steps": True}
_REHEARSED_STEPS = 4
_MANY_STEPS = 30


def make_scheduler(name: str, pipe: Any, own: Any = None) -> Any:
    """Return a new scheduler of this name, configured for the pipeline's model.

    `name` is one of `CHOICES` or a diffusers class name, in any case, with or without "Scheduler";
    `own` is the scheduler that describes the model, the pipeline's by default. Raises ConfigError for
    an unknown name, UnsupportedPipelineError for one that cannot sample this model.

    >>> # pipe.scheduler = make_scheduler("unipc", pipe)
    """
    own = pipe.scheduler if own is None else own
    if own.config.get("stochastic_sampling", False):
        raise UnsupportedPipelineError(
            f"{type(own).__name__} with stochastic_sampling draws noise that follows no seed; switch it off"
        )
    if name == type(own).__name__:
        return copy.deepcopy(own)
    kind = model_kind(own)
    choice = _resolve(name, kind)
    if choice.class_name == type(own).__name__ and choice.settings.items() <= own.config.items():
        return copy.deepcopy(own)
    scheduler = _configure(choice, kind, own)
    _check_call(pipe, scheduler)
    _rehearse(scheduler)
    return scheduler


def model_kind(scheduler: Any) -> Kind:
    """Return what kind of model a scheduler is made for.

    >>> from diffusers import DDIMScheduler
    >>> model_kind(DDIMScheduler())
    'diffusion'
    """
    config = scheduler.config
    name = type(scheduler).__name__
    flows = config.get("use_flow_sigmas", False) or config.get("prediction_type") == "flow_prediction"
    if flows or name.startswith("FlowMatch"):
        return "flow"
    return "edm" if name.startswith("EDM") else "diffusion"


def schedulers_for(kind: Kind) -> list[str]:
    """Return the names a model of a kind takes, shortest names first where two mean the same.

    >>> schedulers_for("flow")
    ['euler', 'heun', 'dpmpp_2m', 'dpmpp_2s', 'unipc', 'deis']
    """
    renamed = _BY_KIND[kind]
    names = [name for name in CHOICES if name in renamed or kind in CHOICES[name].kinds]
    return [name for name in names if name not in renamed.values()]


def _resolve(name: str, kind: Kind) -> Choice:
    wanted = str(name).lower().replace("-", "_").replace("+", "p").replace(" ", "_")
    # The last one wins, so that a class name means its first and plainest entry.
    by_class = {choice.class_name.lower(): key for key, choice in reversed(list(CHOICES.items()))}
    key = by_class.get(wanted) or by_class.get(f"{wanted}scheduler") or _BY_KIND[kind].get(wanted, wanted)
    known = schedulers_for(kind)
    if key not in CHOICES:
        raise ConfigError(f"there is no scheduler {quote(name)}; {nearest(wanted, known)}")
    if kind not in CHOICES[key].kinds:
        raise UnsupportedPipelineError(
            f"{name} cannot sample this pipeline's model, which is {_TITLES[kind]}; use {', '.join(known)}"
        )
    return CHOICES[key]


def _configure(choice: Choice, kind: Kind, own: Any) -> Any:
    import diffusers

    cls = getattr(diffusers, choice.class_name)
    known = set(inspect.signature(cls.__init__).parameters)
    settings = {**_model_settings(choice.class_name, kind, own, known), **choice.settings}
    if any(choice.settings.get(key) for key in _SPACINGS):
        # A name that says how noise levels are spaced stands against the model's own spacing; both at once is
        # refused by diffusers.
        settings |= {key: False for key in _SPACINGS if key in known and key not in choice.settings}
    carried = {key: own.config[key] for key in own.config if key in known or key in _SHIFT_KEYS}
    if own.config.get("sigma_max") is not None and "sigma_max" not in known:
        # A spacing between bounds that the new class cannot hold would run up to the largest noise level.
        carried = {key: value for key, value in carried.items() if key not in _SPACINGS}
    carried = {
        key: value
        for key, value in carried.items()
        if key not in own.config.get("_use_default_values", ()) and key not in settings
    }
    try:
        return cls.from_config({**carried, "_class_name": choice.class_name}, **settings)
    except (ImportError, ValueError, NotImplementedError, TypeError) as error:
        raise UnsupportedPipelineError(
            f"{choice.class_name} cannot be set up for this model: {error}"
        ) from error


# Read by the pipelines off any scheduler's configuration, to shift a flow with the picture's size.
_SHIFT_KEYS = ("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len")


def _model_settings(class_name: str, kind: Kind, own: Any, known: set[str]) -> dict[str, Any]:
    """Return what the model was trained for in the new class's own words; refuses what it has no word for."""
    config = own.config
    settings: dict[str, Any] = {}
    for key, neutral in _TRAINED[kind].items():
        value = config.get(key, neutral)
        if key in known:
            settings[key] = value
        elif not (isinstance(value, str | float | int | None) and value == neutral):
            raise UnsupportedPipelineError(
                f"{class_name} knows no {key}, and this pipeline's model has {key}={quote(value)}; "
                f"use its own {type(own).__name__} or another of {', '.join(schedulers_for(kind))}"
            )
    if kind == "flow":
        shift = config.get("shift", config.get("flow_shift", 1.0))
        settings |= {"shift": shift} if "shift" in known else {"flow_shift": shift}
        if "use_flow_sigmas" in known:
            settings |= {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    latent = {key: config.get(key, value) for key, value in _LATENT.items() if key in known}
    return {**settings, **latent}


def _check_call(pipe: Any, scheduler: Any) -> None:
    """Refuse a scheduler that the pipeline's own call could not drive."""
    family = find_capabilities(kind.__name__ for kind in type(pipe).__mro__)
    taken = inspect.signature(scheduler.set_timesteps).parameters
    needed = {"mu"} if scheduler.config.get("use_dynamic_shifting", False) else set()
    if family is not None and family.even_sigmas != "never":
        needed |= {"mu", "sigmas"} if family.hands_sigmas(scheduler) else {"mu"}
    missing = sorted(needed - set(taken))
    if missing:
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} gives its scheduler {' and '.join(missing)}, which "
            f"{type(scheduler).__name__} does not take; use euler or unipc"
        )


def _rehearse(scheduler: Any) -> None:
    """Take two steps on nothing with a copy, so that what cannot run is refused now and not midway."""
    scheduler = copy.deepcopy(scheduler)
    shifted = {"mu": 1.0} if scheduler.config.get("use_dynamic_shifting", False) else {}
    sample = torch.ones(1, 1, 2, 2)
    try:
        with torch.random.fork_rng(devices=[]):
            scheduler.set_timesteps(_REHEARSED_STEPS, **shifted)
            for timestep in scheduler.timesteps[:2]:
                if hasattr(scheduler, "scale_model_input"):
                    scheduler.scale_model_input(sample, timestep)
                sample = scheduler.step(0.5 * sample, timestep, sample).prev_sample
            scheduler.set_timesteps(_MANY_STEPS, **shifted)
            first, second = scheduler.timesteps[:2].tolist()
    except (ValueError, NotImplementedError, TypeError, RuntimeError, IndexError) as error:
        raise UnsupportedPipelineError(
            f"{type(scheduler).__name__} cannot run this model: {error}"
        ) from error
    if first == second:
        # Karras spacing begins at the largest noise level, which is nearly infinite for a model with zero
        # terminal signal; multistep samplers then take the second step for the first and run off their end.
        raise UnsupportedPipelineError(
            f"{type(scheduler).__name__} puts its first steps on one timestep of this model (its noise "
            "has no largest level); use the same sampler without karras"
        )
