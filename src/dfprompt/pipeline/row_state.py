"""What a scheduler remembers of each row between steps, so that rows can part with their past.

Multistep schedulers keep the last predictions or samples of the whole batch in attributes. When one row
becomes two, or goes, these tensors must be cut and repeated exactly as the latents are. They are
listed here class by class; a scheduler that is not listed is refused, never guessed at.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from dfprompt.errors import GenerationError, UnsupportedPipelineError

# Attributes that hold a tensor of the batch, a list of such tensors, or None until there is one.
ROW_STATE: dict[str, tuple[str, ...]] = {
    "DDIMScheduler": (),
    "DDPMScheduler": (),
    "EulerDiscreteScheduler": (),
    "EulerAncestralDiscreteScheduler": (),
    "LCMScheduler": (),
    "TCDScheduler": (),
    "EDMEulerScheduler": (),
    "DPMSolverMultistepScheduler": ("model_outputs",),
    "EDMDPMSolverMultistepScheduler": ("model_outputs",),
    "DEISMultistepScheduler": ("model_outputs",),
    "UniPCMultistepScheduler": ("model_outputs", "last_sample"),
    "DPMSolverSinglestepScheduler": ("model_outputs", "sample"),
    "SASolverScheduler": ("model_outputs", "last_sample", "last_noise"),
    "HeunDiscreteScheduler": ("prev_derivative", "sample"),
    "KDPM2DiscreteScheduler": ("sample",),
    "KDPM2AncestralDiscreteScheduler": ("sample",),
    "LMSDiscreteScheduler": ("derivatives",),
    "PNDMScheduler": ("ets", "cur_sample", "cur_model_output"),
}


def check_row_state(scheduler: Any) -> None:
    """Raise UnsupportedPipelineError for a scheduler whose memory of the rows is not known."""
    name = type(scheduler).__name__
    inner = getattr(scheduler, "solver_p", None)  # a scheduler inside UniPC has a memory of its own
    if name not in ROW_STATE or inner is not None:
        known = ", ".join(sorted(each.removesuffix("Scheduler") for each in ROW_STATE))
        raise UnsupportedPipelineError(
            f"rows cannot share steps under {name}, whose memory of them is not known; use one of {known}, "
            "or draw without sharing"
        )


def select_rows(scheduler: Any, rows: Tensor, count: int) -> None:
    """Let the scheduler go on with these rows of its batch of `count`, repeated or left out as they say.

    `rows` (G,) are numbers of rows. Raises GenerationError if the scheduler remembers another batch.
    """
    for name in ROW_STATE[type(scheduler).__name__]:
        setattr(scheduler, name, _select(getattr(scheduler, name, None), rows, count))


def _select(state: Any, rows: Tensor, count: int) -> Any:
    if isinstance(state, list):
        return [_select(each, rows, count) for each in state]
    if not isinstance(state, torch.Tensor):
        return state  # None or 0: nothing remembered yet
    if len(state) != count:
        raise GenerationError(
            f"the scheduler remembers {len(state)} rows where {count} are running; it was used by another run"
        )
    return state.index_select(0, rows.to(state.device))
