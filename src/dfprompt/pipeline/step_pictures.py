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
from dfprompt.pipeline.stock import make_generators, scheduled, stock_arguments


def draw_each_step(pipeline: ImagePipeline, request: Request, report: Report) -> Tensor:
    """Draw the one row of a request; return its picture after each step (N,3,H,W) in [0, 1] on the CPU.

    The last is the picture that `draw_request` draws. Raises UnsupportedPipelineError for a family whose
    latents nobody here can decode by themselves.
    """
    pipe = pipeline.pipe
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

    with scheduled(pipe, make_scheduler(str(request.settings.scheduler), pipe)):
        run(
            pipe,
            request.prompts,
            request.negatives,
            **stock_arguments(pipe, request),
            output_type="latent",
            callback_on_step_end=watch,
            callback_on_step_end_tensor_inputs=("latents",),
        )
    return torch.stack(seen)
