"""Where a pipeline runs, in what precision, and what is moved off the GPU while it does not."""

from __future__ import annotations

from typing import Any

import torch

from dfprompt.config import nearest
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.requests.render import DTYPES, OFFLOADS

# The transformer families were trained in bfloat16 and overflow in float16.
_BFLOAT = ("sd3", "flux", "qwen-image")


def pick_device(device: str | torch.device) -> torch.device:
    """Return the device asked for; "auto" takes CUDA, then Apple's GPU, then the CPU.

    >>> pick_device("cpu")
    device(type='cpu')
    """
    if str(device) == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(
            f"there is no device {quote(str(device))}; use auto, cpu, cuda, cuda:1 or mps"
        ) from error
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (picked.index or 0) >= there.get(picked.type, 0):
        raise ConfigError(
            f"device {quote(str(device))} is not there: torch sees no such GPU; use auto or cpu"
        )
    return picked


def pick_dtype(dtype: str | torch.dtype, device: torch.device, family: str) -> torch.dtype:
    """Return the precision asked for; "auto" is float32 on a CPU, half on a GPU, bfloat16 where trained so.

    >>> pick_dtype("auto", torch.device("cpu"), "sdxl")
    torch.float32
    """
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype == "auto":
        if device.type == "cpu":
            return torch.float32
        return torch.bfloat16 if family in _BFLOAT else torch.float16
    if dtype not in DTYPES:
        raise ConfigError(f"there is no dtype {quote(dtype)}; {nearest(dtype, ('auto', *DTYPES))}")
    picked: torch.dtype = getattr(torch, dtype)
    return picked


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
