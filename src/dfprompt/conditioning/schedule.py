"""Which denoiser evaluations a run makes: read off a copy of the pipeline's own scheduler."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np

from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.errors import ConfigError, PromptValueError, UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.prompt.clocks import CLOCKS, Clock, check_steps

# The shift of flow schedules at these image sizes, where a scheduler's configuration says nothing.
_HAIR = 1e-2  # how far outside their range timesteps may end for rounding alone
_SHIFT_DEFAULTS = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}


@dataclass(frozen=True, slots=True)
class Schedule:
    """The denoiser evaluations of a run of N steps.

    `steps` holds the step (0..N-1) of every evaluation of a whole run, `begin` the first evaluation
    that is really made (image-to-image runs only the tail) and `end` the first that is not any more
    (None: the run is not cut short). `shared` says that another pipeline makes the rest of the run.
    `timesteps` are the scheduler's for the
    whole run where the clock reads them, else None.
    """

    num_inference_steps: int
    steps: tuple[int, ...]
    begin: int = 0
    clock: Clock = "steps"
    timesteps: tuple[float, ...] | None = None
    num_train_timesteps: int = 1000
    end: int | None = None
    shared: bool = False

    @property
    def evaluations(self) -> int:
        """How many denoiser evaluations are made."""
        return (len(self.steps) if self.end is None else self.end) - self.begin


def read_schedule(
    pipe: Any,
    *,
    num_inference_steps: int | None = None,
    timesteps: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
    strength: float | None = None,
    clock: Clock = "steps",
    height: int | None = None,
    width: int | None = None,
    denoising_start: float | None = None,
    denoising_end: float | None = None,
) -> Schedule:
    """Return the evaluations a stock call with these arguments will make.

    Whatever is None has the pipeline's own default. `height` and `width` matter only to the clock
    `timestep` of models whose schedule shifts with the image size. `denoising_start` and `denoising_end`
    are those of SDXL's base and refiner, shares of the run. Raises ConfigError or
    PromptValueError for numbers no run can have.
    """
    steps = _count_steps(pipe, num_inference_steps, timesteps, sigmas)
    if clock not in CLOCKS:
        raise PromptValueError(f"the clock must be one of {', '.join(CLOCKS)}, not {quote(clock)}")
    scheduler = copy.deepcopy(pipe.scheduler)
    classes = [kind.__name__ for kind in type(pipe).__mro__]
    shift = _shift(pipe, scheduler, height, width) if clock == "timestep" else 1.0
    own = own_sigmas(classes, scheduler, steps) if sigmas is None else sigmas
    _set_timesteps(scheduler, steps, timesteps, own, shift)
    whole = [float(timestep) for timestep in scheduler.timesteps]
    if clock == "timestep":
        check_counted(scheduler, whole)
    if timesteps is not None or sigmas is not None:  # some schedulers count the final sigma, some do not
        steps = -(-len(whole) // int(getattr(scheduler, "order", 1)))
    train = int(scheduler.config.get("num_train_timesteps", 1000))
    begin = len(whole) - _count_run(pipe, scheduler, steps, read_strength(pipe, strength), denoising_start)
    return Schedule(
        steps,
        tuple(step_table(scheduler, steps, len(whole))),
        begin,
        clock,
        # Schedulers compute in float32 and may end a hair outside the training range.
        tuple(min(max(each, 0.0), float(train)) for each in whole) if clock == "timestep" else None,
        train,
        _count_end(pipe, scheduler, begin, denoising_end),
        shared=denoising_start is not None or denoising_end is not None,
    )


def call_default(pipe: Any, name: str) -> Any:
    """Return the default of an argument of the stock call, None if it has none or no such argument."""
    parameter = parameters(type(pipe).__call__).get(name)
    return None if parameter is None or parameter.default is parameter.empty else parameter.default


def accepts(pipe: Any, name: str) -> bool:
    """Whether the stock call takes an argument of this name."""
    return name in parameters(type(pipe).__call__)


@cache
def parameters(call: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    """Return the arguments of a pipeline class's call, or of any function, by name."""
    return inspect.signature(call).parameters


def read_strength(pipe: Any, strength: float | None) -> float | None:
    """Return the image-to-image strength of a call, None for pipelines that have none."""
    if not accepts(pipe, "strength"):
        if strength not in (None, 1):
            raise ConfigError(
                f"{type(pipe).__name__} starts from pure noise and has no strength; "
                f"leave strength={quote(strength)} out, or use an image-to-image pipeline"
            )
        return None
    chosen = call_default(pipe, "strength") if strength is None else strength
    if isinstance(chosen, bool) or not isinstance(chosen, int | float) or not 0 < chosen <= 1:
        raise PromptValueError(f"the strength must lie above 0 and up to 1, not {quote(chosen)}")
    return float(chosen)


def _count_steps(
    pipe: Any,
    asked: int | None,
    timesteps: Sequence[float] | None,
    sigmas: Sequence[float] | None,
) -> int:
    if timesteps is not None and sigmas is not None:
        raise ConfigError("timesteps and sigmas both set the schedule; pass one of them")
    given = timesteps if timesteps is not None else sigmas
    if given is not None:
        name = "timesteps" if timesteps is not None else "sigmas"
        if not accepts(pipe, name):
            raise ConfigError(f"{type(pipe).__name__} takes no {name}; pass num_inference_steps instead")
        if asked not in (None, len(given)):
            raise ConfigError(f"num_inference_steps is {asked}, but {len(given)} {name} are given")
        asked = len(given)
    steps = check_steps(call_default(pipe, "num_inference_steps") if asked is None else asked)
    train = int(pipe.scheduler.config.get("num_train_timesteps", 1000))
    if steps > train:
        raise ConfigError(
            f"{steps} steps are more than the {train} timesteps the model was trained on; use 1 to {train}"
        )
    return steps


def _set_timesteps(
    scheduler: Any,
    steps: int,
    timesteps: Sequence[float] | None,
    sigmas: Sequence[float] | None,
    shift: float,
) -> None:
    arguments: dict[str, Any] = {"num_inference_steps": steps}
    for name, value in (("timesteps", timesteps), ("sigmas", sigmas)):
        if value is not None:
            arguments = {name: value.tolist() if hasattr(value, "tolist") else list(value)}
    if scheduler.config.get("use_dynamic_shifting", False):
        arguments["mu"] = shift
    try:
        scheduler.set_timesteps(**arguments)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"{type(scheduler).__name__} cannot run {' and '.join(arguments)}: {error}"
        ) from error


def check_counted(scheduler: Any, timesteps: Sequence[float]) -> None:
    """Raise UnsupportedPipelineError for timesteps that count no time: logarithms of noise, as EDM's are."""
    if min(timesteps) < -_HAIR:
        raise UnsupportedPipelineError(
            f"the timesteps of {type(scheduler).__name__} are logarithms of its noise, and no time is read "
            "off them; take the clock steps"
        )


def own_sigmas(classes: Iterable[str], scheduler: Any, steps: int) -> list[float] | None:
    """Return the even sigmas that some families' calls hand to their scheduler; None for the others.

    `classes` are the names of the pipeline's class and those it inherits from.
    """
    known = find_capabilities(classes)
    if known is None or not known.hands_sigmas(scheduler):
        return None
    return [float(sigma) for sigma in np.linspace(1.0, 1 / steps, steps)]


def step_table(scheduler: Any, steps: int, count: int) -> list[int]:
    """Return the step each evaluation belongs to."""
    if hasattr(scheduler, "prk_timesteps"):
        return _pndm_table(scheduler, steps, count)
    order = int(getattr(scheduler, "order", 1))
    if count == steps * order - (order - 1):
        return [evaluation // order for evaluation in range(count)]
    if count == steps:
        return list(range(steps))
    raise UnsupportedPipelineError(
        f"{type(scheduler).__name__} makes {count} evaluations for {steps} steps, in an order dfprompt does "
        "not know; use another scheduler (DDIM, Euler, DPM++, UniPC, Heun, PNDM ...)"
    )


def _pndm_table(scheduler: Any, steps: int, count: int) -> list[int]:
    """PNDM: four Runge-Kutta evaluations per first step, or one repeated first step, then one each."""
    warm_up = len(scheduler.prk_timesteps)
    if warm_up:
        first = [evaluation // 4 for evaluation in range(warm_up)]
    else:
        first = [0] if count > steps else []
    rest = count - len(first)
    return [*first, *range(steps - rest, steps)]


def _count_run(
    pipe: Any, scheduler: Any, steps: int, strength: float | None, denoising_start: float | None
) -> int:
    """Return how many evaluations are left to run, by the pipeline's own rounding of strength or start."""
    start = _check_share(pipe, "denoising_start", denoising_start)
    if strength is None or not hasattr(type(pipe), "get_timesteps"):
        return len(scheduler.timesteps)
    more = {} if start is None else {"denoising_start": start}
    # Only the scheduler is read, so a copy can stand in for the pipeline's.
    run, _ = type(pipe).get_timesteps(SimpleNamespace(scheduler=scheduler), steps, strength, "cpu", **more)
    if not len(run):
        what = f"strength {strength}" if start is None else f"denoising_start {start}"
        raise PromptValueError(
            f"{what} of {steps} steps leaves no step to run; run more of them, or raise the steps"
        )
    return len(run)


def _count_end(pipe: Any, scheduler: Any, begin: int, denoising_end: float | None) -> int | None:
    """Return the first evaluation that is not made, by the pipelines' own rounding of `denoising_end`."""
    end = _check_share(pipe, "denoising_end", denoising_end)
    if end is None:
        return None
    train = scheduler.config.num_train_timesteps
    cutoff = round(train - end * train)
    made = sum(bool(timestep >= cutoff) for timestep in scheduler.timesteps[begin:])
    if not made:
        raise PromptValueError(f"denoising_end {end} leaves no step to run; raise it")
    return begin + made


def _check_share(pipe: Any, name: str, value: float | None) -> float | None:
    """Return a share of the run that counts (the pipelines ignore all but floats between 0 and 1)."""
    if value is not None and not accepts(pipe, name):
        raise ConfigError(f"{type(pipe).__name__} takes no {name}; leave {name}={quote(value)} out")
    return value if is_share(value) else None


def is_share(value: Any) -> bool:
    """Whether SDXL's calls take a value of `denoising_start` or `denoising_end` into account."""
    return isinstance(value, float) and 0 < value < 1


def _shift(pipe: Any, scheduler: Any, height: int | None, width: int | None) -> float:
    """Return `mu`, the image-size dependent shift of SD3's, FLUX's and Qwen-Image's schedules."""
    size = getattr(pipe, "default_sample_size", 128) * pipe.vae_scale_factor
    patch = getattr(pipe, "patch_size", 2) * pipe.vae_scale_factor
    tokens = ((height or size) // patch) * ((width or size) // patch)
    low, high, base, top = (scheduler.config.get(key, value) for key, value in _SHIFT_DEFAULTS.items())
    return float(base + (tokens - low) * (top - base) / (high - low))
