"""Reading tensors from files without running code from them."""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError  # what torch.load raises for a file that holds more than tensors

import torch
from safetensors.torch import load_file
from torch import Tensor

from dfprompt.errors import LoadError
from dfprompt.modelfiles import LOADER_ERRORS

_DAMAGES = (*LOADER_ERRORS, UnpicklingError)


def read_tensors(source: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a `.pth`/`.pt` state dict (`weights_only=True`).

    A dict with one entry `state_dict` is opened. Raises LoadError naming the file.
    """
    if not source.is_file():
        raise LoadError(f"{source}: no such file")
    try:
        if source.suffix == ".safetensors":
            return load_file(source)
        content = torch.load(source, map_location="cpu", weights_only=True)
    except _DAMAGES as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise LoadError(f"{source}: damaged, or not a file of plain tensors: {reason}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise LoadError(f"{source}: expected a state dict of tensors, got {type(content).__name__}")
    return dict(state)
