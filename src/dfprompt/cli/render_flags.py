"""The flags that every drawing command shares, defined once: which pipeline, and how it draws."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, get_type_hints

import typer

from dfprompt.errors import InputError
from dfprompt.excerpt import quote

if TYPE_CHECKING:
    from dfprompt.pipeline.image_pipeline import ImagePipeline
    from dfprompt.requests.render import RenderSettings

_SIZE = re.compile(r"(\d{1,5})(?:[xX×](\d{1,5}))?")


@dataclass(frozen=True)
class LoadFlags:
    """How a pipeline is loaded."""

    device: str
    dtype: str
    offload: str
    lora: list[str]
    vae: str | None
    config: str | None

    def load_from(self, source: str) -> ImagePipeline:
        """Load a pipeline; raises LoadError naming what is missing or damaged."""
        from dfprompt.api.pipelines import load_pipeline

        return load_pipeline(
            source,
            device=self.device,
            dtype=self.dtype,
            offload=self.offload,  # type: ignore[arg-type]
            loras=self.lora,
            vae=self.vae,
            config=self.config,
        )


@dataclass(frozen=True)
class RenderFlags(LoadFlags):
    """What the shared flags say; None means the pipeline's own default."""

    pipeline: str
    steps: int | None
    guidance: float | None
    true_cfg: float | None
    scheduler: str | None
    negative: str | None
    size: str | None
    weighting: str | None
    clock: str
    absence: str
    clip_skip: int | None
    batch_size: int | None
    vae_tiling: bool
    ignore_controls: bool

    def settings(self) -> RenderSettings:
        """Return how to draw; raises ConfigError naming every flag that cannot be."""
        from dfprompt.config import make_config
        from dfprompt.requests.render import RenderSettings

        width, height = parse_size(self.size)
        values = {
            "num_inference_steps": self.steps,
            "guidance_scale": self.guidance,
            "true_cfg_scale": self.true_cfg,
            "scheduler": self.scheduler,
            "width": width,
            "height": height,
            "weighting": self.weighting,
            "clock": self.clock,
            "absence": self.absence,
            "clip_skip": self.clip_skip,
            "batch_size": self.batch_size,
            "vae_tiling": self.vae_tiling,
            "ignore_controls": self.ignore_controls,
        }
        return make_config(RenderSettings, values, origin="render flags")

    def load(self) -> ImagePipeline:
        """Load the pipeline the flags name; raises LoadError naming what is missing or damaged."""
        return self.load_from(self.pipeline)


_TYPES = get_type_hints(RenderFlags)
_OPTIONS: dict[str, Any] = {
    "pipeline": typer.Option(
        "mini", "--pipeline", metavar="X", help="mini, a folder, a .safetensors file or a hub id."
    ),
    "steps": typer.Option(None, "--steps", metavar="N", help="Denoising steps."),
    "guidance": typer.Option(None, "--guidance", metavar="G", help="Guidance scale; 1 for none."),
    "true_cfg": typer.Option(
        None, "--true-cfg", metavar="G", help="FLUX, Qwen-Image: strength of the negative prompt."
    ),
    "scheduler": typer.Option(
        None, "--scheduler", metavar="NAME", help="unipc, euler, ddim, dpmpp_2m, heun, pndm, lcm, deis ..."
    ),
    "negative": typer.Option(None, "--negative", metavar="TEXT", help="Negative prompt, a DF-Prompt too."),
    "size": typer.Option(None, "--size", metavar="WxH", help="Pixels, as 512x768, or 512 for a square."),
    "weighting": typer.Option(
        None, "--weighting", metavar="RULE", help="How weights act: mean, scale, comfy, compel or attention."
    ),
    "clock": typer.Option("steps", "--clock", metavar="CLOCK", help="What ranges count: steps or timestep."),
    "absence": typer.Option(
        "delete", "--absence", metavar="HOW", help="Words outside their range: delete or mask."
    ),
    "clip_skip": typer.Option(None, "--clip-skip", metavar="N", help="Text encoder layers left out."),
    "device": typer.Option("auto", "--device", metavar="D", help="auto, cpu, cuda or mps."),
    "dtype": typer.Option("auto", "--dtype", metavar="T", help="auto, float32, float16 or bfloat16."),
    "offload": typer.Option("none", "--offload", metavar="HOW", help="none, model or sequential."),
    "lora": typer.Option([], "--lora", metavar="[NAME=]FILE[:SCALE]", help="A LoRA; may be repeated."),
    "vae": typer.Option(None, "--vae", metavar="X", help="Another VAE: a folder or a .safetensors file."),
    "config": typer.Option(
        None, "--config", metavar="DIR", help="Configuration of a single file's base model."
    ),
    "batch_size": typer.Option(None, "--batch-size", metavar="B", help="Pictures drawn at once."),
    "vae_tiling": typer.Option(False, "--vae-tiling", help="Decode large pictures in tiles."),
    "ignore_controls": typer.Option(
        False, "--ignore-controls", help="Draw the words alone: the placebo of an experiment."
    ),
}


def with_flags(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the shared flags in place of its parameter `flags: RenderFlags` (or LoadFlags).

    >>> def draw(text: str, flags: LoadFlags) -> None: ...
    >>> list(inspect.signature(with_flags(draw)).parameters)[:3]
    ['text', 'device', 'dtype']
    """
    types = get_type_hints(command)
    group: type[LoadFlags] = types["flags"]
    names = {field.name for field in fields(group)}

    @functools.wraps(command)
    def flagged(**arguments: Any) -> None:
        _quiet_libraries()
        chosen = {name: arguments.pop(name) for name in names}
        command(**arguments, flags=group(**chosen))

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command).parameters.values():
        kind = inspect.Parameter.KEYWORD_ONLY
        if parameter.name == "flags":
            parameters += [
                inspect.Parameter(name, kind, default=option, annotation=_TYPES[name])
                for name, option in _OPTIONS.items()
                if name in names
            ]
        else:
            parameters.append(parameter.replace(annotation=types[parameter.name], kind=kind))
    del flagged.__wrapped__  # or typer reads the signature below it
    flagged.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flagged.__annotations__ = {each.name: each.annotation for each in parameters}
    return flagged


def parse_size(text: str | None) -> tuple[int | None, int | None]:
    """Return width and height of `512x768` or `512`; raises InputError for anything else.

    >>> parse_size("512x768"), parse_size("64"), parse_size(None)
    ((512, 768), (64, 64), (None, None))
    """
    if text is None:
        return None, None
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise InputError(f"--size takes pixels, width x height, such as 512x768, not {quote(text)}")
    width = int(found[1])
    return width, int(found[2]) if found[2] else width


def _quiet_libraries() -> None:
    """Keep the libraries' own remarks off the terminal, unless asked for; before they are imported."""
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")
