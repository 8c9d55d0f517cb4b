"""What one picture looked like after every step: the stock call, its latents decoded as they come."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfprompt.conditioning.run import run
from dfprompt.errors import UnsupportedPipelineError
from dfprompt.pipeline.decode import decode_latents
from dfprompt.pipeline.denoise import LOCKSTEP_PIPELINES
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.pipeline.progress import Report
from dfprompt.pipeline.request import Request
from dfprompt.pipeline.schedulers import make_scheduler
from dfprompt.pipeline.stock import guidance_arguments, make_generators, scheduled


def draw_each_step(pipeline: ImagePipeline, request: Request, report: Report) -> Tensor:
    """Draw the one row of a request; return its picture after each step (N,3,H,W) in [0, 1] on the CPU.

    The last is the picture that `draw_request` draws. Raises UnsupportedPipelineError for a family whose
    latents nobody here can decode by themselves.
    """
    pipe, settings = pipeline.pipe, request.settings
    if type(pipe).__name__ not in LOCKSTEP_PIPELINES:
        raise UnsupportedPipelineError(
            f"the steps of {type(pipe).__name__} cannot be shown; those of "
            f"{' and '.join(LOCKSTEP_PIPELINES)} can"
        )
    seen: list[Tensor] = []

    def watch(pipe: Any, index: int, timestep: Any, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        decoded, _ = decode_latents(pipe, tensors["latents"], make_generators(request.seeds))
        seen.append(decoded[0].float().cpu())
        report(len(seen), max(int(pipe.num_timesteps), len(seen)))
        return {}

    guidance: dict[str, Any] = {**guidance_arguments(pipe, request)}
    with scheduled(pipe, make_scheduler(str(settings.scheduler), pipe)):
        run(
            pipe,
            request.prompts,
            request.negatives,
            weighting=settings.weighting,
            absence=settings.absence,
            clock=settings.clock,
            long_prompts=settings.long_prompts,
            num_inference_steps=settings.num_inference_steps,
            height=settings.height,
            width=settings.width,
            clip_skip=settings.clip_skip,
            generator=make_generators(request.seeds),
            output_type="latent",
            callback_on_step_end=watch,
            callback_on_step_end_tensor_inputs=("latents",),
            **guidance,
        )
    return torch.stack(seen)
