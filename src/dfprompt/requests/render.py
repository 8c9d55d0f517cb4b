"""How a picture is drawn, written down once: options, recipes, settings page and keywords come from here."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import Field

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence
from dfprompt.requests.base import HIDDEN, Flag, FolderRequest, Request, SeedRequest, Texts, Things

OFFLOADS = ("none", "model", "sequential")
Offload = Literal["none", "model", "sequential"]
DType = Literal["float32", "float16", "bfloat16"]
Weighting = Literal["mean", "scale", "comfy", "compel", "attention"]
LongPrompts = Literal["chunk", "truncate"]
_SIZE = re.compile(r"(\d{1,5})(?:[xX×](\d{1,5}))?")


def parse_size(text: str) -> tuple[int, int]:
    """Return width and height of `512x768` or `512`; raises InputError for anything else.

    >>> parse_size("512x768"), parse_size("64")
    ((512, 768), (64, 64))
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"--size takes pixels, width x height, such as 512x768, not {quote(text)}")
    return int(found[1]), int(found[2] or found[1])


class RenderSettings(Request):
    """How a pipeline draws; whatever is not set has the loaded pipeline's own default."""

    num_inference_steps: Annotated[int | None, Flag("--steps", "N")] = Field(default=None, ge=1, le=1000)
    """Denoising steps, 1 to the number of timesteps trained (the paper: 10)."""
    guidance_scale: Annotated[float | None, Flag("--guidance", "G")] = Field(default=None, ge=0, le=1000)
    """Strength of classifier-free guidance, 1 or less for none (the paper: 7.5); FLUX: the distilled one."""
    true_cfg_scale: Annotated[float | None, Flag("--true-cfg", "G")] = Field(default=None, ge=0, le=1000)
    """Strength of a real negative pass on FLUX and Qwen-Image, with a negative prompt; 1 for none."""
    scheduler: Annotated[str | None, Flag(metavar="NAME")] = Field(default=None, min_length=1, max_length=100)
    """The sampler by name (unipc, euler, ddim, dpmpp_2m ...), configured from the model."""
    height: Annotated[int | None, HIDDEN] = Field(default=None, ge=8, le=8192)
    """Pixels from top to bottom, a multiple of what the pipeline asks for (8 or 16)."""
    width: Annotated[
        int | None,
        Flag(
            "--size",
            "WxH",
            kind=str,
            fills=("width", "height"),
            read=parse_size,
            help="Pixels, width x height, as 512x768, or 512 for a square.",
        ),
    ] = Field(default=None, ge=8, le=8192)
    """Pixels from left to right, a multiple of what the pipeline asks for (8 or 16)."""
    weighting: Annotated[Weighting | None, Flag(metavar="RULE")] = None
    """How weights act: mean (the paper), scale, comfy, compel or attention; by default the family's own."""
    clock: Annotated[Clock, Flag(metavar="CLOCK")] = "steps"
    """What ranges count: steps, or timestep (the scheduler's training time)."""
    absence: Annotated[Absence, Flag(metavar="HOW")] = "delete"
    """What happens to a span outside its range: delete removes the words, mask hides their tokens."""
    clip_skip: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=0, le=100)
    """How many of the text encoder's last layers are left out, for the families that can."""
    long_prompts: Annotated[LongPrompts, Flag(metavar="HOW")] = "chunk"
    """What happens to text beyond the encoder's window: chunk encodes all of it, truncate cuts it."""
    max_sequence_length: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1, le=4096)
    """Tokens of the long encoder (T5, Qwen), for SD3, FLUX and Qwen-Image."""
    vae_tiling: bool = False
    """Decode large pictures in tiles: less memory, faint differences at the seams."""
    batch_size: Annotated[int | None, Flag(metavar="B")] = Field(default=None, ge=1, le=4096)
    """Pictures drawn at once; by default what usually fits, and half as many when memory runs out."""
    ignore_controls: bool = False
    """Draw the words alone, every range full and every weight 1: the placebo of an experiment."""


class DeviceRequest(Request):
    """Where models run, and how exactly they count."""

    device: Annotated[str, Flag(metavar="D")] = "auto"
    """Where it runs: auto, cpu, cuda, cuda:1 or mps."""
    dtype: Annotated[str, Flag(metavar="T")] = "auto"
    """Precision: auto (float16 or bfloat16 on a GPU), float32, float16 or bfloat16."""


class LoadRequest(DeviceRequest):
    """What a pipeline is loaded with."""

    offload: Annotated[Offload, Flag(metavar="HOW")] = "none"
    """What waits outside the GPU: none, model (parts in turn) or sequential (slow, least memory)."""
    loras: Annotated[Things, Flag("--lora", "[NAME=]FILE[:SCALE]", kind=str)] = ()
    """A LoRA: file, folder or hub id, perhaps FILE:SCALE; NAME=FILE acts where words name it. May repeat."""
    vae: Annotated[Any, Flag(metavar="X", kind=str)] = None
    """Another VAE: a folder or a .safetensors file."""
    config: Annotated[Any, Flag(metavar="DIR", kind=str)] = None
    """A folder with the configuration of a single file's base model; of a .gguf, all other parts."""


class RenderRequest(RenderSettings, LoadRequest):
    """A pipeline and how it draws: the group of settings that all commands which draw have in common.

    >>> RenderRequest(num_inference_steps=10).settings.num_inference_steps
    10
    """

    pipeline: Annotated[Any, Flag(metavar="X", kind=str)] = "mini"
    """What draws: mini, a folder, a .safetensors or .gguf file or a hub id."""
    negative_prompt: Annotated[Any, Flag("--negative", "TEXT", kind=str)] = None
    """What pictures should not show; a DF-Prompt too."""

    @property
    def settings(self) -> RenderSettings:
        """How to draw, without what draws."""
        return RenderSettings(**{name: getattr(self, name) for name in RenderSettings.model_fields})


class DialectRequest(Request):
    """How DF-Prompts are written."""

    dialect: str = "native"
    """How prompts are written: native, a1111, comfyui, swarmui, compel, pae."""
    plain: bool = False
    """Take every character as words; nothing is control."""
    strict: bool = False
    """Make warnings about other tools' control errors."""


class GenerateRequest(SeedRequest, FolderRequest, DialectRequest, RenderRequest):
    """What `dfprompt generate` draws."""

    texts: Texts
    """DF-Prompts; - reads one per line and answers in JSON lines."""
    share: bool = False
    """Compute what pictures have in common only once."""
    force: bool = False
    """Overwrite pictures that exist."""
