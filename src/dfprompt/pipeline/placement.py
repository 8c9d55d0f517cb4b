"""Where a pipeline runs, in what precision, and what is moved off the GPU while it does not."""

from __future__ import annotations

from typing import Any

import torch

from dfprompt import sources
from dfprompt.config import nearest
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.requests.render import OFFLOADS

# The transformer families were trained in bfloat16 and overflow in float16.
_BFLOAT = ("sd3", "flux", "qwen-image")


def pick_dtype(dtype: str | torch.dtype, device: torch.device, family: str) -> torch.dtype:
    """Return the precision asked for; "auto" is float32 on a CPU, half on a GPU, bfloat16 where trained so.

    >>> pick_dtype("auto", torch.device("cpu"), "sdxl")
    torch.float32
    """
    return sources.pick_dtype(dtype, device, half="bfloat16" if family in _BFLOAT else "float16")


def check_offload(offload: str, device: torch.device) -> None:
    """Raise ConfigError for an unknown way of offloading, or one without a GPU to offload from."""
    if offload not in OFFLOADS:
        raise ConfigError(f"there is no offload {quote(offload)}; {nearest(offload, OFFLOADS)}")
    if offload != "none" and device.type == "cpu":
        raise ConfigError(
            f"offload={offload} moves weights between the CPU and a GPU, and this runs on the CPU; "
            "use offload=none"
        )


def place(pipe: Any, device: torch.device, offload: str) -> None:
    """Put a pipeline where it shall run."""
    if offload == "model":
        pipe.enable_model_cpu_offload(device=device)
    elif offload == "sequential":
        pipe.enable_sequential_cpu_offload(device=device)
    else:
        pipe.to(device)
