"""Reading tensors from files without running code from them."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from dfprompt.errors import LoadError, load_errors


def read_tensors(source: Path) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` file, or of a `.pth`/`.pt` state dict (`weights_only=True`).

    A dict with one entry `state_dict` is opened. Raises LoadError naming the file.
    """
    if not source.is_file():
        raise LoadError(f"{source}: no such file")
    with load_errors(f"{source}: damaged, or not a file of plain tensors"):
        if source.suffix == ".safetensors":
            return load_file(source)
        content = torch.load(source, map_location="cpu", weights_only=True)
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise LoadError(f"{source}: expected a state dict of tensors, got {type(content).__name__}")
    return dict(state)
