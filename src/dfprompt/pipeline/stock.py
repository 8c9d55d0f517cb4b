"""Drawing with the stock pipeline call: DF-Prompts attached, one generator per picture."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from dfprompt.conditioning.capabilities import find_capabilities
from dfprompt.conditioning.run import run
from dfprompt.conditioning.schedule import accepts
from dfprompt.errors import DFPromptWarning, GenerationError, UnsupportedPipelineError
from dfprompt.pipeline.progress import Steps
from dfprompt.pipeline.request import Request


def stock_arguments(pipe: Any, request: Request) -> dict[str, Any]:
    """Return what the settings of a request say to `run`: the control, the call, a generator per row."""
    settings = request.settings
    call: dict[str, Any] = {
        "num_inference_steps": settings.num_inference_steps,
        "height": settings.height,
        "width": settings.width,
        "clip_skip": settings.clip_skip,
        "max_sequence_length": settings.max_sequence_length,
        # The size asked for is drawn, not the nearest that the model was trained on.
        "use_resolution_binning": False if accepts(pipe, "use_resolution_binning") else None,
        **guidance_arguments(pipe, request),
    }
    return {
        "weighting": settings.weighting,
        "absence": settings.absence,
        "clock": settings.clock,
        "long_prompts": settings.long_prompts,
        "generator": make_generators(request.seeds),
        **{name: value for name, value in call.items() if value is not None},
    }


def draw_rows(pipe: Any, request: Request, steps: Steps) -> Tensor:
    """Draw the rows of a request in one batch: (B,3,H,W) float32 in [0, 1] on the CPU.

    Every picture has a generator of its own, so its noise depends on its seed alone. Raises
    GenerationError naming the rows whose pictures are not numbers.
    """

    def after_step(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        steps.show((index + 1) * len(request))
        return {}

    vae = getattr(pipe, "vae", None)
    precision = None if vae is None else vae.dtype
    try:
        drawn = run(
            pipe,
            request.prompts,
            request.negatives,
            **stock_arguments(pipe, request),
            **_calling_back(pipe, after_step),
            output_type="pt",
        )
    except ValueError as error:  # what the stock call's own checks say
        raise GenerationError(f"{type(pipe).__name__} refused to draw: {error}") from error
    finally:
        # SDXL decodes in float32 and goes back, but not where that runs out of memory.
        if vae is not None and vae.dtype != precision:
            vae.to(dtype=precision)
    images = getattr(drawn, "images", None)
    if not isinstance(images, Tensor):
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} draws no still pictures; call it yourself with dfprompt.run(pipe, ...)"
        )
    steps.finish(len(request) * int(getattr(pipe, "num_timesteps", len(pipe.scheduler.timesteps))))
    report_hidden(request, getattr(drawn, "nsfw_content_detected", None))
    return check_pictures(images, request)


def _calling_back(pipe: Any, callback: Callable[..., Any]) -> dict[str, Any]:
    """The call's arguments for a look at every step, for the pipelines that give one."""
    if not accepts(pipe, "callback_on_step_end"):
        return {}
    return {"callback_on_step_end": callback, "callback_on_step_end_tensor_inputs": ()}


def guidance_arguments(pipe: Any, request: Request) -> dict[str, float]:
    """Return the stock call's arguments for guidance, under the names this family has for it."""
    settings = request.settings
    arguments = {"guidance_scale": settings.guidance_scale, "true_cfg_scale": settings.true_cfg_scale}
    family = find_capabilities(kind.__name__ for kind in type(pipe).__mro__)
    distilled = family is not None and family.distilled_guidance
    if distilled and not pipe.transformer.config.get("guidance_embeds", False):
        # Classifier-free guidance has the other name.
        arguments = {"true_cfg_scale": settings.guidance_scale or settings.true_cfg_scale}
    return {name: value for name, value in arguments.items() if value is not None and accepts(pipe, name)}


def warn_of_idle_negative(pipe: Any, request: Request) -> None:
    """Warn (DFPromptWarning) of a negative prompt that guidance is too low, or of the wrong kind, to use."""
    if request.negatives is None or not any(prompt.plain_text for prompt in request.negatives):
        return
    arguments = guidance_arguments(pipe, request)
    name = "true_cfg_scale" if "true_cfg_scale" in arguments else "guidance_scale"
    if arguments.get(name, 0) <= 1:
        warnings.warn(
            f"the negative prompt does nothing on {type(pipe).__name__} while {name} is "
            f"{arguments.get(name, 0):g}; set {name} above 1",
            DFPromptWarning,
            stacklevel=3,
        )


def make_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """Return one CPU generator per picture: the same noise on every device, in every batch."""
    return [torch.Generator("cpu").manual_seed(seed) for seed in seeds]


def report_hidden(request: Request, flags: Sequence[bool] | None) -> None:
    """Warn (DFPromptWarning) of pictures that the model's safety checker has replaced by black."""
    hidden = [row for row, flag in enumerate(flags or ()) if flag]
    if hidden:
        seeds = ", ".join(str(request.seeds[row]) for row in hidden)
        warnings.warn(
            f"the model's safety checker replaced {len(hidden)} pictures by black ones (seeds {seeds})",
            DFPromptWarning,
            stacklevel=4,
        )


def check_pictures(images: Tensor, request: Request) -> Tensor:
    """Return pictures as float32 on the CPU; raises GenerationError naming rows that hold NaN."""
    pictures = images.detach().to("cpu", torch.float32)
    broken = (~torch.isfinite(pictures).flatten(1).all(dim=1)).nonzero().flatten().tolist()
    if broken:
        rows = ", ".join(f"{request.prompts[row]!s} (seed {request.seeds[row]})" for row in broken[:3])
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise GenerationError(
            f"{len(broken)} of {len(pictures)} pictures came out as NaN: {rows}{more}; use dtype bfloat16 or "
            "float32, a VAE made for float16, or a lower guidance scale"
        )
    return pictures


@contextmanager
def scheduled(pipe: Any, scheduler: Any) -> Iterator[None]:
    """Let the pipeline run under a scheduler while the block lasts."""
    own = pipe.scheduler
    pipe.scheduler = scheduler
    try:
        yield
    finally:
        pipe.scheduler = own
