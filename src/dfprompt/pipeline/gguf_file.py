"""GGUF files: a denoiser alone, packed into few bits; everything else comes from a folder of its model."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import torch

from dfprompt.errors import LoadError, load_errors
from dfprompt.pipeline.folder import list_parts, read_index

SUFFIX = ".gguf"
_MAGIC = b"GGUF"


def find_denoiser(path: Path, config: str | Path | None) -> tuple[Path, str]:
    """Return the folder that completes a GGUF file, and the part whose place the file takes.

    Raises LoadError for a file that is none, and where the folder or the package `gguf` is missing.
    """
    try:
        with path.open("rb") as stream:
            begins = stream.read(len(_MAGIC))
    except OSError as error:
        raise LoadError(f"{path} cannot be read: {error.strerror or error}") from error
    if begins != _MAGIC:
        raise LoadError(f"{path} is no GGUF file, or was cut off; download it again")
    if config is None:
        raise LoadError(
            f"{path} holds a denoiser alone; pass config=FOLDER (--config FOLDER), a diffusers folder of the "
            "model it was made from: encoders, VAE and sampler come from there"
        )
    if importlib.util.find_spec("gguf") is None:
        raise LoadError(f'{path} needs the package gguf to be read: pip install "dfprompt[gguf]"')
    folder = Path(config)
    for name in list_parts(read_index(folder)):
        if name in ("transformer", "unet"):
            return folder, name
    raise LoadError(f"{folder} lists neither a transformer nor a unet, so no part of it can come from {path}")


def load_denoiser(path: Path, folder: Path, part: str, dtype: torch.dtype) -> Any:
    """Load a GGUF file by the class and configuration of a folder's part; weights stay packed in memory.

    Raises LoadError where the two do not fit.
    """
    import diffusers

    kind: Any = getattr(diffusers, str(read_index(folder)[part][1]), None)
    if not hasattr(kind, "from_single_file"):
        raise LoadError(
            f"diffusers reads no GGUF file for the part {part} of {folder}; pass the folder alone"
        )
    with load_errors(
        f"{path} cannot be loaded in place of {folder / part}",
        "pass the folder of the model it was made from",
    ):
        return kind.from_single_file(
            str(path),
            config=str(folder),
            subfolder=part,
            quantization_config=diffusers.GGUFQuantizationConfig(compute_dtype=dtype),
            dtype=dtype,
            local_files_only=True,
        )
