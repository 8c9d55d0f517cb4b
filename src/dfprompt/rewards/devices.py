"""Where scores are computed, and in what precision."""

from __future__ import annotations

import torch

from dfprompt.errors import ConfigError


def pick_device(device: str | torch.device) -> torch.device:
    """The device asked for; "auto" takes CUDA, then Apple's GPU, then the CPU."""
    if device != "auto":
        try:
            return torch.device(device)
        except RuntimeError as error:
            raise ConfigError(
                f"device {device!r} is none that torch knows; use auto, cpu, cuda or mps"
            ) from error
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def pick_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype asked for; "auto" is float16 on a GPU, where CLIP models were trained in it, else float32."""
    if isinstance(dtype, torch.dtype):
        return dtype
    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    if dtype == "auto":
        return torch.float32 if device.type == "cpu" else torch.float16
    if dtype not in known:
        raise ConfigError(f"dtype {dtype!r} is none of auto, {', '.join(known)}")
    return known[dtype]
