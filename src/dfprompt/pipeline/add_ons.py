"""LoRAs and other VAEs put into a loaded pipeline."""

from __future__ import annotations

import re
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import torch

from dfprompt.errors import ConfigError, LoadError, UnsupportedPipelineError, load_errors
from dfprompt.excerpt import quote
from dfprompt.images.metadata import ModelMark
from dfprompt.pipeline.identity import hash_weights
from dfprompt.pipeline.weight_files import check_weights, read_header
from dfprompt.sources import fetch_file, hub_id_of

_NAMED = re.compile(r"(?P<name>[^/\\=<>:]+)=(?P<file>.+)", re.DOTALL)
_LORA_FILE = "pytorch_lora_weights.safetensors"


class LoraSource(NamedTuple):
    """Where a LoRA comes from and how strongly it acts (1: as trained).

    One with a `name` acts only where a prompt's words say so, `[<lora:NAME:0.8>:late]`.
    """

    source: str
    scale: float = 1.0
    name: str | None = None


def parse_lora(text: str) -> LoraSource:
    """Read `FILE`, `FILE:SCALE` or `NAME=FILE`; raises ConfigError for a scale that is no number.

    >>> parse_lora("fur=style.safetensors").name
    'fur'

    >>> parse_lora("style.safetensors:0.8")
    LoraSource(source='style.safetensors', scale=0.8, name=None)
    """
    named = _NAMED.fullmatch(text)
    if named and not Path(text).exists():
        return LoraSource(named["file"], name=named["name"])
    source, colon, last = text.rpartition(":")
    if not colon or "/" in last or "\\" in last or last.endswith(".safetensors"):
        return LoraSource(text)
    try:
        scale = float(last)
    except ValueError as error:
        raise ConfigError(f"the LoRA {quote(text)} has no number behind the colon; write FILE:0.8") from error
    return LoraSource(source, scale)


def read_lora(lora: str | Path | tuple[str | Path, float]) -> LoraSource:
    """Return a LoRA however it is given; raises ConfigError for a scale that cannot be.

    >>> read_lora(("style.safetensors", 2))
    LoraSource(source='style.safetensors', scale=2.0, name=None)
    """
    name = None
    if isinstance(lora, str):
        source, scale, name = parse_lora(lora)
    else:
        file, scale = (lora, 1.0) if isinstance(lora, Path) else lora
        source = str(file)
    if not (isinstance(scale, int | float) and abs(scale) < 100):
        raise ConfigError(
            f"the LoRA {quote(source)} would act {scale} times; use a scale between -100 and 100"
        )
    return LoraSource(source, float(scale), name)


def add_loras(pipe: Any, loras: list[LoraSource]) -> tuple[ModelMark, ...]:
    """Load LoRAs (files, folders, hub ids) and set their scales; returns their marks for recipes.

    Raises LoadError for a file that is missing, damaged or fits no layer of this pipeline.
    """
    if not loras:
        return ()
    if not hasattr(pipe, "load_lora_weights"):
        raise UnsupportedPipelineError(f"{type(pipe).__name__} takes no LoRA; leave it out")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several are meant
        names = [lora.name or f"lora{number}" for number, lora in enumerate(loras)]
        if len(set(names)) < len(names):
            raise ConfigError(f"two LoRAs have one name ({', '.join(names)}); give each its own")
        marks = [_add_lora(pipe, lora, name) for lora, name in zip(loras, names, strict=True)]
    pipe.set_adapters(names, [0.0 if lora.name else lora.scale for lora in loras])
    return tuple(marks)


def _add_lora(pipe: Any, lora: LoraSource, adapter: str) -> ModelMark:
    path = _find_lora(lora.source)
    read_header(path)
    with load_errors(f"the LoRA {path} does not fit {type(pipe).__name__}", "use one made for this model"):
        pipe.load_lora_weights(
            str(path.parent), weight_name=path.name, adapter_name=adapter, local_files_only=True
        )
    if not any(adapter in names for names in pipe.get_list_adapters().values()):
        raise LoadError(
            f"the LoRA {path} fits no layer of {type(pipe).__name__}; use one made for this model"
        )
    if any(_left_empty(part, adapter) for part in pipe.components.values()):
        raise LoadError(f"the LoRA {path} lacks some of its own weights; fetch it again")
    hub_id = hub_id_of(lora.source)
    return ModelMark(name=hub_id or path.stem, hash=hash_weights([path]), scale=lora.scale)


def _left_empty(part: Any, adapter: str) -> bool:
    """Whether weights of an adapter, and no others, were made and never filled."""
    if not isinstance(part, torch.nn.Module):
        return False
    empty = [name for name, values in part.named_parameters() if values.is_meta]
    return bool(empty) and all(f".{adapter}." in name for name in empty)


def _find_lora(source: str) -> Path:
    path = Path(source)
    if path.is_dir():
        files = sorted(path.glob("*.safetensors"))
        named = path / _LORA_FILE
        if named in files or len(files) == 1:
            return named if named in files else files[0]
        raise LoadError(f"{path} holds {len(files)} .safetensors files; name the LoRA's file")
    hub_id = hub_id_of(source)
    return path if hub_id is None else fetch_file(hub_id, _LORA_FILE, what="the LoRA")


def swap_vae(pipe: Any, source: str, dtype: torch.dtype) -> ModelMark:
    """Replace the VAE by one from a folder (its own, or a pipeline's) or a .safetensors file.

    Raises LoadError for a source that is missing, damaged or of another kind.
    """
    path = Path(source)
    kind = type(pipe.vae)
    if path.is_file():
        read_header(path)
        files = [path]
    elif path.is_dir():
        path = path if (path / "config.json").is_file() else path / "vae"
        if not (path / "config.json").is_file():
            raise LoadError(f"{source} holds no VAE: neither config.json nor vae/config.json is in it")
        check_weights(path)
        files = sorted(path.glob("*.safetensors"))
    else:
        raise LoadError(f"the VAE {quote(source)} is neither a folder nor a .safetensors file")
    with load_errors(f"the VAE {source} does not fit {type(pipe).__name__}"):
        if path.is_dir():
            vae = kind.from_pretrained(
                path, dtype=dtype, use_safetensors=True, local_files_only=True, trust_remote_code=False
            )
        else:
            vae = _vae_from_file(kind, path, pipe.vae, dtype)
    _check_latents(vae, pipe.vae, source)
    pipe.vae = vae.eval()
    return ModelMark(name=Path(source).stem, hash=hash_weights(files, path if path.is_dir() else None))


def _check_latents(vae: Any, own: Any, source: str) -> None:
    """Raise LoadError for a VAE of the right class whose latents are of another shape."""
    for names, what in ((("latent_channels", "z_dim"), "channels"), (("block_out_channels",), "levels")):
        theirs, needed = (_latent_size(each.config, names) for each in (vae, own))
        if theirs != needed:
            raise LoadError(
                f"the VAE {source} has latents of {theirs} {what}, and this model's have {needed}; "
                "use a VAE made for it"
            )


def _latent_size(config: Any, names: tuple[str, ...]) -> int | None:
    found = next((config[name] for name in names if name in config), None)
    return found if found is None or isinstance(found, int) else len(found)


def _vae_from_file(kind: Any, path: Path, like: Any, dtype: torch.dtype) -> Any:
    """Load a VAE's single file with the configuration of the one it replaces, so nothing is fetched."""
    from diffusers.loaders.single_file_utils import SingleFileComponentError

    with tempfile.TemporaryDirectory() as folder:
        like.save_config(folder)
        try:
            return kind.from_single_file(str(path), config=folder, dtype=dtype, local_files_only=True)
        except SingleFileComponentError as error:
            raise LoadError(f"{path} holds no VAE") from error
