"""Models whose files lack weights are refused: the loaders would fill the gaps with random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from dfprompt.errors import LoadError
from dfprompt.modelfiles import check_tokenizer
from dfprompt.pipeline.folder import list_parts, read_index
from dfprompt.pipeline.weight_files import check_weights

_SHOWN = 3


def load_encoders(folder: Path, dtype: torch.dtype) -> dict[str, Any]:
    """Load the parts of a pipeline folder that are transformers models, by name.

    The stock loader would load them too, but drops the library's account of what was missing. Raises
    LoadError naming weights that are not in the files.
    """
    import transformers

    index, loaded = read_index(folder), {}
    for name in list_parts(index):
        library, class_name = index[name]
        kind = getattr(transformers, str(class_name), None) if library == "transformers" else None
        if not (isinstance(kind, type) and issubclass(kind, transformers.PreTrainedModel)):
            continue
        variants = check_weights(folder / name)
        loader: Any = kind
        loaded[name], account = loader.from_pretrained(
            folder / name,
            dtype=dtype,
            variant=None if "" in variants else variants[0],
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
        _refuse(sorted(account["missing_keys"]), folder / name)
    return loaded


def check_whole(pipe: Any, source: Path) -> None:
    """Raise LoadError naming weights of a pipeline that were in no file."""
    for name, part in pipe.components.items():
        if isinstance(part, torch.nn.Module):
            missing = [key for key, tensor in part.named_parameters() if tensor.is_meta]
            _refuse([f"{name}: {key}" for key in missing], source)


def check_tokenizers(pipe: Any, source: Path) -> None:
    """Raise LoadError for a tokenizer of a pipeline that its encoder cannot follow."""
    for name, tokenizer in pipe.components.items():
        encoder = getattr(pipe, name.replace("tokenizer", "text_encoder"), None)
        if name.startswith("tokenizer") and tokenizer is not None and encoder is not None:
            rows = encoder.get_input_embeddings().num_embeddings
            check_tokenizer(getattr(tokenizer, "tokenizer", tokenizer), f"{source}: {name}", rows=rows)


def _refuse(missing: list[str], where: Path) -> None:
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        raise LoadError(
            f"{where} lacks weights: {', '.join(missing[:_SHOWN])}{more}; download or save the pipeline again"
        )
