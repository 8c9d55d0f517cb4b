"""What can be refused before anything heavy is loaded: one check per request, without torch or diffusers."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import warnings
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from dfprompt.errors import ConfigError, DFPromptWarning, InputError, LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.weight_files import refuse_pickle
from dfprompt.prompt.reading import NATIVE, read_prompt
from dfprompt.requests.base import Request
from dfprompt.requests.render import DTYPES, DeviceRequest, GenerateRequest, RenderRequest
from dfprompt.requests.score import ScoreImagesRequest, ScoreRequest

STDIN = ["-"]
MINI = "mini"
_DEVICE = re.compile(r"(cpu|cuda|mps)(?::(\d{1,3}))?")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_BUILT_FOR = re.compile(r"^(?:cuda|hip)\b[^=]*= *(?!None)\S", re.MULTILINE)


@singledispatch
def check(request: Request) -> None:
    """Raise InputError, ConfigError or LoadError for a request that cannot be met, in a moment.

    What only a loaded model can tell is left to it.
    """


@check.register
def _check_generate(request: GenerateRequest) -> None:
    if list(request.texts) != STDIN and request.dialect == NATIVE:
        check_prompts(request.texts, plain=request.plain)
    check_drawing(request)
    check_output(request.output)


@check.register
def _check_scoring(request: ScoreImagesRequest) -> None:
    check_device(request.device)
    check_scores(request)


def check_prompts(texts: Sequence[str], *, plain: bool) -> None:
    """Refuse what is no prompt; what is only remarkable is said when the prompt is read for drawing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        for text in texts:
            read_prompt(text, plain=plain)


def check_drawing(request: RenderRequest) -> None:
    """Refuse a device that is not there, a precision nobody knows, a pipeline that is no file or folder."""
    check_device(request.device)
    check_dtype(request)
    check_pipeline(request.pipeline)


def check_dtype(request: DeviceRequest) -> None:
    """Refuse a precision that is none of the three."""
    if isinstance(request.dtype, str) and request.dtype not in ("auto", *DTYPES):
        raise ConfigError(f"there is no dtype {quote(request.dtype)}; use auto, {', '.join(DTYPES)}")


def check_pipeline(pipeline: object) -> None:
    """Refuse the name of a pipeline that is neither mini, a file, a folder, nor may be on the hub."""
    if not isinstance(pipeline, str | Path) or str(pipeline) == MINI:
        return
    refuse_pickle(Path(pipeline))
    if Path(pipeline).exists():
        return
    name = str(pipeline)
    if not _HUB_ID.fullmatch(name) or name.endswith(".safetensors"):
        raise LoadError(f"{quote(name)} is neither a folder, nor a file, nor a hub id (owner/name)")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "on", "yes", "true") and not _is_cached(name):
        raise LoadError(
            f"{quote(name)} is no folder here, and as a hub id it is not in the local cache, which "
            "HF_HUB_OFFLINE forbids to fill; name a folder, or unset HF_HUB_OFFLINE"
        )


def _is_cached(hub_id: str) -> bool:
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "huggingface"
    cache = Path(os.environ.get("HF_HUB_CACHE", Path(os.environ.get("HF_HOME", home)) / "hub"))
    return (cache.expanduser() / f"models--{hub_id.replace('/', '--')}").is_dir()


def check_output(output: str | Path | None) -> None:
    """Refuse a folder that cannot be made or written into."""
    if output is None:
        return
    folder = Path(output)
    if folder.is_file():
        raise InputError(f"{folder} is a file; name a folder")
    nearest = next((each for each in (folder, *folder.parents) if _exists(each)), Path())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise InputError(f"nothing can be written into {nearest}; choose another --output")


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"no file can be written to {path}: {error.strerror}") from error
    return True


def check_device(device: object) -> None:
    """Refuse a device that is not there, without loading torch where that can be known without it."""
    if not isinstance(device, str) or device in ("auto", "cpu"):
        return
    known = _DEVICE.fullmatch(device)
    if known is None:
        raise ConfigError(f"there is no device {quote(device)}; use auto, cpu, cuda, cuda:1 or mps")
    if (known[1] == "cuda" and not _torch_knows_gpus()) or (
        known[1] == "mps" and platform.system() != "Darwin"
    ):
        raise ConfigError(f"device {quote(device)} is not there: torch sees no such GPU; use auto or cpu")


def _torch_knows_gpus() -> bool:
    """Whether the torch that is installed was built for CUDA or ROCm; its file of versions says it."""
    found = importlib.util.find_spec("torch")
    places = found.submodule_search_locations if found is not None else None
    if not places:
        return True  # then torch itself says what is missing
    try:
        return _BUILT_FOR.search((Path(places[0]) / "version.py").read_text(encoding="utf-8")) is not None
    except OSError:
        return True


def check_scores(request: ScoreRequest) -> None:
    """Refuse rewards and judges whose files are not there, and code without permission."""
    for source in (*request.rewards, *request.judges):
        if not isinstance(source, str):
            continue
        if source.endswith(".toml") and not Path(source).is_file():
            raise ConfigError(f"cannot read the recipe {source}: there is no such file")
        file, colon, _ = source.rpartition(":")
        if colon and file.endswith(".py"):
            if not Path(file).is_file():
                raise LoadError(f"{source}: there is no file {file}")
            if not request.allow_code:
                raise ConfigError(
                    f"the reward {source} is code, which would be run; pass --allow-code if you trust it"
                )
