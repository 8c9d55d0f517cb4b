"""A run of N steps, read off a pipeline's scheduler without its weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, NamedTuple

from dfprompt.conditioning.schedule import check_counted, own_sigmas
from dfprompt.errors import LoadError, UnsupportedPipelineError, load_errors
from dfprompt.excerpt import quote
from dfprompt.sources import hub_id_of

_CONFIG = "scheduler_config.json"
# The shift of flow schedules for a picture of the model's full size, where the configuration says nothing.
_FULL_SIZE_SHIFT = 1.15


class SchedulerRun(NamedTuple):
    """A whole run of N steps: the timestep of every denoiser evaluation, and the step it belongs to."""

    timesteps: tuple[float, ...]
    num_train_timesteps: int
    order: int
    step_of_evaluation: tuple[int, ...]


def load_timesteps(source: str, num_inference_steps: int) -> SchedulerRun:
    """Read the scheduler of a pipeline folder, a scheduler folder or a hub id, and lay out N steps.

    No weights are read. Schedules that shift with the picture's size are those of the model's full
    size. Raises LoadError where there is no scheduler, UnsupportedPipelineError for timesteps that
    count no time.
    """
    with warnings.catch_warnings():  # diffusers asks the hub's library with words that it has given up
        warnings.filterwarnings("ignore", "The `local_dir_use_symlinks` argument", UserWarning)
        return _lay_out(hub_id_of(source) or source, num_inference_steps)


def _lay_out(source: str, num_inference_steps: int) -> SchedulerRun:
    scheduler = _load_scheduler(source)
    arguments: dict[str, Any] = {}
    if scheduler.config.get("use_dynamic_shifting", False):
        arguments["mu"] = scheduler.config.get("max_shift", _FULL_SIZE_SHIFT)
    sigmas = _own_sigmas(source, scheduler, num_inference_steps)
    arguments |= {"num_inference_steps": num_inference_steps} if sigmas is None else {"sigmas": sigmas}
    with load_errors(f"{type(scheduler).__name__} cannot run {num_inference_steps} steps"):
        scheduler.set_timesteps(**arguments)
    trained = int(scheduler.config.get("num_train_timesteps", 1000))
    check_counted(scheduler, [float(each) for each in scheduler.timesteps])
    # Schedulers compute in float32 and may end a hair outside the training range.
    timesteps = tuple(min(max(float(each), 0.0), float(trained)) for each in scheduler.timesteps)
    order = int(getattr(scheduler, "order", 1))
    return SchedulerRun(
        timesteps, trained, order, _steps(scheduler, num_inference_steps, len(timesteps), order)
    )


def _steps(scheduler: Any, steps: int, evaluations: int, order: int) -> tuple[int, ...]:
    """Return the step of every evaluation; PNDM warms up with several evaluations per step."""
    if hasattr(scheduler, "prk_timesteps"):
        warm_up = len(scheduler.prk_timesteps)
        first = [at // 4 for at in range(warm_up)] if warm_up else [0] * (evaluations - steps)
        return (*first, *range(steps - (evaluations - len(first)), steps))
    return tuple(at // order for at in range(evaluations))


def _own_sigmas(source: str, scheduler: Any, steps: int) -> list[float] | None:
    """The noise levels that the pipeline hands its scheduler; None for a scheduler alone and most classes.

    Timesteps can be read off any pipeline: of one that cannot draw here nothing is known but its scheduler.
    """
    from diffusers import DiffusionPipeline

    if (Path(source) / _CONFIG).is_file():
        return None
    try:
        return own_sigmas([str(DiffusionPipeline.load_config(source).get("_class_name"))], scheduler, steps)
    except (OSError, ValueError, RecursionError, UnsupportedPipelineError):
        return None


def _load_scheduler(source: str) -> Any:
    import diffusers

    folder = Path(source)
    try:
        subfolder = None if (folder / _CONFIG).is_file() else "scheduler"
        # Any scheduler class reads the file; which one it describes is written in it.
        config = diffusers.DDIMScheduler.load_config(source, subfolder=subfolder)
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(
            f"no scheduler can be read from {quote(source)}; give a pipeline folder that holds "
            f"scheduler/{_CONFIG}, or a hub id"
        ) from error
    kind = getattr(diffusers, str(config.get("_class_name")), None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.SchedulerMixin)):
        raise LoadError(f"{quote(config.get('_class_name'))} in {quote(source)} is no scheduler of diffusers")
    scheduler: Any = kind
    with load_errors(f"{source}: its scheduler cannot be made", f"look at its {_CONFIG}"):
        return scheduler.from_config(config)
