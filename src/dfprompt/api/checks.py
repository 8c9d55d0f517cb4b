"""What can be refused before anything heavy is loaded: one check per request, without torch or diffusers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

from dfprompt.errors import ConfigError, DFPromptWarning, InputError, LoadError
from dfprompt.excerpt import quote
from dfprompt.pipeline.weight_files import refuse_pickle
from dfprompt.prompt.reading import NATIVE, read_prompt
from dfprompt.requests.base import Request
from dfprompt.requests.render import DeviceRequest, GenerateRequest, RenderRequest
from dfprompt.requests.score import ScoreImagesRequest, ScoreRequest
from dfprompt.sources import DTYPES, check_device, is_hub_id

STDIN = ["-"]
MINI = "mini"


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
    _check_device(request.device)
    check_scores(request)


def check_prompts(texts: Sequence[str], *, plain: bool) -> None:
    """Refuse what is no prompt; what is only remarkable is said when the prompt is read for drawing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DFPromptWarning)
        for text in texts:
            read_prompt(text, plain=plain)


def check_drawing(request: RenderRequest) -> None:
    """Refuse a device that is not there, a precision nobody knows, a pipeline that is no file or folder."""
    _check_device(request.device)
    check_dtype(request)
    check_pipeline(request.pipeline)


def _check_device(device: object) -> None:
    if isinstance(device, str):
        check_device(device)


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
    if not is_hub_id(name) or name.endswith(".safetensors"):
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
