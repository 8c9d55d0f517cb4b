"""Loading pipelines: a folder, a hub id or a single file becomes an `ImagePipeline`.

Weights are read as safetensors only (a packed denoiser as GGUF), code that comes with a model is never
run, and nothing touches the network unless the source is a hub id.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from dfprompt.conditioning.capabilities import GENERIC, find_capabilities
from dfprompt.domain import find_domain
from dfprompt.errors import ConfigError, LoadError, load_errors
from dfprompt.excerpt import quote
from dfprompt.pipeline.add_ons import add_loras, read_lora, swap_vae
from dfprompt.pipeline.companions import find_companions
from dfprompt.pipeline.config_numbers import check_numbers
from dfprompt.pipeline.defaults import PipelineDefaults, read_defaults
from dfprompt.pipeline.encoder_weights import check_tokenizers, check_whole, load_encoders
from dfprompt.pipeline.folder import check_folder, read_index
from dfprompt.pipeline.gguf_file import SUFFIX as GGUF
from dfprompt.pipeline.gguf_file import find_denoiser, load_denoiser
from dfprompt.pipeline.hub import fetch_pipeline
from dfprompt.pipeline.identity import hash_weights, list_weights
from dfprompt.pipeline.image_pipeline import ImagePipeline, Origin
from dfprompt.pipeline.placement import check_offload, pick_dtype, place
from dfprompt.pipeline.single_file import find_configuration, load_single_file
from dfprompt.pipeline.weight_files import refuse_pickle
from dfprompt.requests.render import Offload
from dfprompt.sources import hub_id_of, pick_device

_LOG = logging.getLogger(__name__)


def load_pipeline_from(
    source: str | Path,
    *,
    device: str | torch.device = "auto",
    dtype: str | torch.dtype = "auto",
    offload: Offload = "none",
    loras: Sequence[str | Path | tuple[str | Path, float]] = (),
    vae: str | Path | None = None,
    config: str | Path | None = None,
) -> ImagePipeline:
    """Load a text-to-image pipeline from a folder, a hub id, a single .safetensors checkpoint or a .gguf.

    `loras` are files, folders or hub ids, each "FILE", "FILE:SCALE" or (file, scale); `vae` is a folder or
    file; `config` a folder with the configuration of a single file's base model (a GGUF file, which holds a
    denoiser alone, takes all other parts from there, too). Raises LoadError naming
    what is missing, damaged or pickled, UnsupportedPipelineError for an unknown family, ConfigError for
    a device, dtype or offload there is not.

    >>> # load_pipeline_from("models/my-sd15", device="cuda", loras=["style.safetensors:0.8"])
    """
    picked = pick_device(device)
    check_offload(offload, picked)
    chosen = [read_lora(each) for each in loras]
    path = Path(source)
    with _without_bars():
        hub_id = hub_id_of(str(source))
        if path.is_dir() or hub_id is not None:
            if config is not None:
                raise ConfigError("config goes with a single file; a folder brings its own")
            folder = path if hub_id is None else fetch_pipeline(hub_id)
            pipe, defaults, origin = _load_folder(folder, hub_id or _name(folder), dtype, picked)
        else:
            pipe, defaults, origin = _load_file(path, config, dtype, picked)
        marks = add_loras(pipe, chosen)
        mark = swap_vae(pipe, str(vae), pipe.vae.dtype) if vae is not None else None
    check_numbers(pipe, vae or source)
    place(pipe, picked, offload)
    pipe.set_progress_bar_config(disable=True)  # ours to set; the command line has bars of its own
    origin = replace(origin, vae=mark, loras=marks)
    _LOG.info("loaded %s as %s on %s, offload %s", source, type(pipe).__name__, picked, offload)
    return ImagePipeline(pipe, origin=origin, defaults=defaults)


Loaded = tuple[Any, PipelineDefaults, Origin]


@contextmanager
def _without_bars() -> Iterator[None]:
    """Keep the libraries' loading bars, one per part, off the terminal."""
    import diffusers.utils.logging
    import transformers.utils.logging

    libraries = [diffusers.utils.logging, transformers.utils.logging]
    shown = [library for library in libraries if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()


def _load_folder(
    folder: Path,
    name: str,
    dtype: str | torch.dtype,
    device: torch.device,
    packed: tuple[Path, str] | None = None,
) -> Loaded:
    """Load a folder; `packed` is a GGUF file and the part whose place it takes."""
    from diffusers import DiffusionPipeline

    parts = check_folder(folder, brought=packed[1] if packed else None)
    defaults = read_defaults(folder)
    precision = _precision(defaults, dtype, device, _family([parts.class_name]))
    # SD3 runs without its T5 encoder, but only if the loader is told so.
    left_out = {name: None for name in parts.absent if name.startswith(("text_encoder", "tokenizer"))}
    brought = {} if packed is None else {packed[1]: load_denoiser(packed[0], folder, packed[1], precision)}
    with load_errors(f"{folder} cannot be loaded", "download or save the pipeline again"):
        encoders = load_encoders(folder, precision)
        pipe = DiffusionPipeline.from_pretrained(
            folder,
            dtype=precision,
            variant=parts.variant,
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            **left_out,
            **encoders,
            **brought,
        )
    check_whole(pipe, folder)
    check_tokenizers(pipe, folder)
    marks = find_domain(folder), find_companions(folder)
    return (
        pipe,
        defaults,
        Origin(
            defaults.name or name,
            partial(_hash_folder, folder, packed),
            domain=marks[0],
            companions=marks[1],
        ),
    )


def _load_file(
    path: Path, config: str | Path | None, dtype: str | torch.dtype, device: torch.device
) -> Loaded:
    refuse_pickle(path)
    if not path.exists():
        raise LoadError(f"{quote(str(path))} is neither a folder, nor a file, nor a hub id (hub:owner/name)")
    if path.suffix.lower() == GGUF:
        folder, part = find_denoiser(path, config)
        return _load_folder(folder, path.stem, dtype, device, (path, part))
    if path.suffix.lower() != ".safetensors":
        raise LoadError(f"{path} is neither a .safetensors nor a .gguf file; only those are read")
    folder = find_configuration(path, config)
    defaults = read_defaults(folder)
    family = _family([read_index(folder)["_class_name"]])
    pipe = load_single_file(path, folder, _precision(defaults, dtype, device, family))
    check_whole(pipe, path)
    return pipe, defaults, Origin(path.stem, partial(hash_weights, [path]))


def _family(class_names: Sequence[str]) -> str:
    found = find_capabilities(class_names)
    return GENERIC if found is None else found.family


def _precision(
    defaults: PipelineDefaults, dtype: str | torch.dtype, device: torch.device, family: str
) -> torch.dtype:
    asked = defaults.dtype if dtype == "auto" and defaults.dtype is not None else dtype
    return pick_dtype(asked, device, family)


def _name(folder: Path) -> str:
    return folder.resolve().name or "pipeline"


def _hash_folder(folder: Path, packed: tuple[Path, str] | None) -> str:
    files = list_weights(folder)
    if packed is not None:
        files = [packed[0], *(path for path in files if folder / packed[1] not in path.parents)]
    return hash_weights(files, folder)
