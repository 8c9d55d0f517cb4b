"""Single-file checkpoints: weights in one .safetensors, configurations and tokenizers from a folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from dfprompt.conditioning.identify import INDEX
from dfprompt.errors import LoadError, load_errors
from dfprompt.excerpt import quote
from dfprompt.pipeline.folder import list_parts, read_index
from dfprompt.pipeline.hub import CONFIGURATIONS
from dfprompt.pipeline.weight_files import PICKLED, read_header, refuse_pickle
from dfprompt.sources import find_cached

# Scales of packed weights as other programs name them: scaled fp8, int8 and fp4, bitsandbytes.
_SCALE = re.compile(
    r"(^|\.)(scaled_fp8|comfy_quant|((scale|scaled)_(weight|input)|(weight|input)_scale(_\d)?))$"
    r"|\.(absmax|quant_map|quant_state\.[\w.]+|SCB)$"
)


def find_configuration(path: Path, config: str | Path | None) -> Path:
    """Return the folder a single file is loaded with: the one given, or its base model's from the cache.

    `config` is a folder in the diffusers layout of the same kind of model; weights are not needed in it.
    The hub's local cache is looked through, never the network. Raises LoadError that says what to pass.
    """
    tensors = read_header(path)
    _refuse_packed(path, tensors)
    folder = Path(config) if config is not None else _find_base(path, tensors)
    for name in list_parts(read_index(folder)):
        _refuse_pickled_part(folder / name)
    return folder


def load_single_file(path: Path, folder: Path, dtype: torch.dtype) -> Any:
    """Load a pipeline from one .safetensors file with the configuration of a folder.

    Raises LoadError where the two do not fit, UnsupportedPipelineError for an unknown family.
    """
    index = read_index(folder)
    import diffusers

    pipeline: Any = getattr(diffusers, index["_class_name"])
    if not hasattr(pipeline, "from_single_file"):
        raise LoadError(f"{index['_class_name']} cannot be loaded from a single file; pass its folder")
    advice = (
        "pass the configuration of the model it was made from, or a folder that holds the missing part's "
        "weights too"
    )
    with load_errors(f"{path} cannot be loaded with the configuration of {folder}", advice):
        try:
            return pipeline.from_single_file(
                str(path), config=str(folder), dtype=dtype, local_files_only=True
            )
        except NotImplementedError as error:  # tensors without data are moved, but not made
            raise ValueError("some weights are missing in it") from error


def _find_base(path: Path, tensors: dict[str, Any]) -> Path:
    """Return the cached configuration of the model a checkpoint descends from."""
    from diffusers.loaders.single_file_utils import fetch_diffusers_config

    # The loader judges by names and shapes, so tensors without memory will do.
    shapes = {name: torch.empty(entry["shape"], device="meta") for name, entry in tensors.items()}
    base = str(fetch_diffusers_config(shapes)["pretrained_model_name_or_path"])
    cached = find_cached(base, CONFIGURATIONS)
    if cached is None or not (cached / INDEX).is_file():
        raise LoadError(
            f"{path} holds weights only, and the configuration of its base model ({base}) is not on this "
            "machine; pass config=FOLDER (--config FOLDER), a diffusers folder of the same kind of model "
            "with its model_index.json, tokenizer and configurations, a few MB: "
            f'hf download {base} --include "*.json" "*.txt" "*.model" --local-dir FOLDER'
        )
    return cached


def _refuse_packed(path: Path, tensors: dict[str, Any]) -> None:
    """Refuse weights that mean something only together with scales that diffusers passes over.

    Plain fp8 weights are numbers like any other, and are cast.
    """
    packed = next((name for name in tensors if _SCALE.search(name)), None)
    if packed is not None:
        raise LoadError(
            f"{path} holds packed weights with scales ({quote(packed)}), which diffusers would leave "
            "out, and draw noise; use the model in bf16, fp16 or plain fp8, or GGUF with --config FOLDER"
        )


def _refuse_pickled_part(part: Path) -> None:
    """Parts that the checkpoint lacks come from the folder, where only safetensors may be read."""
    if part.is_dir() and not any(part.glob("*.safetensors")):
        for path in part.iterdir():
            if path.suffix.lower() in PICKLED:
                refuse_pickle(path)
