"""What a pipeline draws with unless told otherwise: measured defaults beside it, or its own call's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from dfprompt.conditioning.capabilities import GENERIC, family_of
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.schedule import accepts, call_default
from dfprompt.config import make_config
from dfprompt.errors import ConfigError
from dfprompt.pipeline.companions import read_beside
from dfprompt.requests.render import DType, RenderSettings

DEFAULTS_FILE = "dfprompt.json"


class PipelineDefaults(RenderSettings):
    """Defaults measured for one set of weights, stored beside them as `dfprompt.json`."""

    name: str | None = Field(default=None, min_length=1, max_length=200)
    """What the model is called in recipes and tables; by default its folder, file or hub id."""
    dtype: DType | None = None
    """The precision it was measured in."""


def read_defaults(folder: Path) -> PipelineDefaults:
    """Read the defaults stored in a pipeline folder, if any; raises LoadError naming a damaged file."""
    path = folder / DEFAULTS_FILE
    return read_beside(PipelineDefaults, path) if path.is_file() else PipelineDefaults()


def resolve_settings(pipe: Any, defaults: PipelineDefaults, asked: RenderSettings) -> RenderSettings:
    """Return the settings with every None that decides the picture filled in.

    First come the defaults stored beside the weights, then the pipeline's own. Raises ConfigError for
    what this pipeline has no such thing as, and for a size its latents cannot have.
    """
    stored = {name: getattr(defaults, name) for name in RenderSettings.model_fields}
    chosen = asked.model_dump()
    chosen |= {name: value for name, value in stored.items() if chosen[name] is None}
    own = {name: call_default(pipe, name) for name in ("num_inference_steps", "guidance_scale")}
    own |= {"true_cfg_scale": call_default(pipe, "true_cfg_scale")}
    own |= {"scheduler": type(pipe.scheduler).__name__}
    own |= dict(zip(("height", "width"), default_size(pipe), strict=True))
    own |= {"weighting": None if family_of(pipe) == GENERIC else adapter_for(pipe).default_weighting}
    chosen |= {name: value for name, value in own.items() if chosen[name] is None}
    settings = make_config(RenderSettings, chosen, origin="render settings")
    _check_known(pipe, asked)
    _check_size(pipe, settings)
    return settings


def default_size(pipe: Any) -> tuple[int | None, int | None]:
    """Return height and width in pixels of the pictures a stock call draws; None where only it knows."""
    sample = getattr(pipe, "default_sample_size", None)
    if not isinstance(sample, int):
        denoiser = getattr(pipe, "unet", None) or getattr(pipe, "transformer", None)
        sample = getattr(getattr(denoiser, "config", None), "sample_size", None)
    if sample is None or not isinstance(getattr(pipe, "vae_scale_factor", None), int):
        return None, None
    height, width = (sample, sample) if isinstance(sample, int) else sample
    return height * pipe.vae_scale_factor, width * pipe.vae_scale_factor


def _check_known(pipe: Any, asked: RenderSettings) -> None:
    for name in ("true_cfg_scale", "clip_skip", "max_sequence_length"):
        value = getattr(asked, name)
        if value is not None and not accepts(pipe, name):
            raise ConfigError(f"{type(pipe).__name__} takes no {name}; leave {name}={value} out")


def _check_size(pipe: Any, settings: RenderSettings) -> None:
    multiple = _size_multiple(pipe)
    for name in ("height", "width"):
        value = getattr(settings, name)
        if value is not None and value % multiple:
            near = max(multiple, round(value / multiple) * multiple)
            raise ConfigError(
                f"{name}={value}: {type(pipe).__name__} draws multiples of {multiple} pixels; use {near}"
            )


def _size_multiple(pipe: Any) -> int:
    family = family_of(pipe)
    if family in ("stable-diffusion", "sdxl"):
        return max(8, int(pipe.vae_scale_factor))  # 8 is what their calls insist on
    patch = getattr(pipe, "patch_size", 2)
    return int(getattr(pipe, "vae_scale_factor", 8)) * int(patch)
