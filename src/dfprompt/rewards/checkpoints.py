"""Reading a CLIP model's folder, or open_clip weights into one; damage is named with the folder."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from dfprompt.domain import find_domain
from dfprompt.errors import LoadError, load_errors
from dfprompt.modelfiles import check_model_folder, check_tokenizer
from dfprompt.rewards.openclip import convert_open_clip
from dfprompt.rewards.preprocessing import read_preprocessing
from dfprompt.rewards.tensorfiles import read_tensors
from dfprompt.rewards.tower import ClipTower


def load_tower(
    folder: Path,
    *,
    device: torch.device,
    dtype: torch.dtype,
    fit: Literal["crop", "pad"] = "crop",
    checkpoint: Path | None = None,
) -> ClipTower:
    """Read a CLIPModel folder with tokenizer and preprocessing; `checkpoint` gives the weights instead.

    Its tensors carry open_clip's names or CLIPModel's own.

    Raises LoadError naming the folder and what is wrong with it.
    """
    if not (folder / "config.json").is_file():
        raise LoadError(
            f"{folder}: no config.json; a CLIP model is a folder written by CLIPModel.save_pretrained"
        )
    check_model_folder(folder, weights=checkpoint)
    if checkpoint is None:
        model = _guarded(folder, _clip_model, folder)
    else:
        model = _guarded(folder, _open_clip_model, folder, checkpoint)
    tokenizer = _guarded(folder, _clip_tokenizer, folder)
    if len(tokenizer) < 3:  # nothing but the end tokens: the vocabulary file is missing
        raise LoadError(
            f"{folder}: the tokenizer's files are missing (tokenizer.json, or vocab.json and merges.txt)"
        )
    check_tokenizer(tokenizer, str(folder), rows=model.text_model.embeddings.token_embedding.num_embeddings)
    return ClipTower(
        model.to(device=device, dtype=dtype),
        tokenizer,
        read_preprocessing(folder, fit=fit),
        name=(checkpoint or folder).name,
        domain=find_domain(folder),
    )


def _clip_model(folder: Path) -> Any:
    from transformers import CLIPModel

    model, info = CLIPModel.from_pretrained(
        folder,
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        output_loading_info=True,
    )
    if missing := sorted(info["missing_keys"]):
        raise LoadError(
            f"{folder}: {len(missing)} tensors are missing, such as {missing[0]}; not a CLIPModel?"
        )
    return model


def _clip_tokenizer(folder: Path) -> Any:
    from transformers import CLIPTokenizer

    return CLIPTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def _open_clip_model(folder: Path, checkpoint: Path) -> Any:
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    state = _clip_state(read_tensors(checkpoint))
    with torch.device("meta"):
        model = CLIPModel(config)
    for half in (model.text_model, model.vision_model):  # buffers that no checkpoint holds
        half.embeddings.position_ids = torch.arange(half.embeddings.position_embedding.num_embeddings)[None]
    model.load_state_dict(state, strict=True, assign=True)
    return model


def _clip_state(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tensors under CLIPModel's names: open_clip's are converted, its own stay but for what is no weight."""
    if any(name.startswith("vision_model.") for name in tensors):
        return {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
    return dict(convert_open_clip(tensors))


def _guarded(folder: Path, load: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Call a loader; what it raises for missing or damaged files becomes a LoadError naming the folder."""
    with load_errors(f"{folder}: cannot be loaded"), _without_progress_bars():
        return load(*arguments, **options)


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    """A score's weights come from the disk in seconds; three bars for three models are noise."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
