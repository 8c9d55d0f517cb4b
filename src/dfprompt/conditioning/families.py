"""From a pipeline to the text adapter of its family."""

from __future__ import annotations

from typing import Any

from diffusers import DiffusionPipeline

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.capabilities import capabilities_of
from dfprompt.conditioning.flux import FluxAdapter
from dfprompt.conditioning.qwen_image import QwenImageAdapter
from dfprompt.conditioning.sd3 import SD3Adapter
from dfprompt.conditioning.sdxl import SDXLAdapter
from dfprompt.conditioning.stable_diffusion import StableDiffusionAdapter
from dfprompt.errors import UnsupportedPipelineError
from dfprompt.excerpt import quote

_ADAPTERS: tuple[type[TextAdapter], ...] = (
    StableDiffusionAdapter,
    SDXLAdapter,
    SD3Adapter,
    FluxAdapter,
    QwenImageAdapter,
)


def adapter_for(pipe: Any, *, max_sequence_length: int | None = None) -> TextAdapter:
    """Return the text adapter of a diffusers pipeline.

    `max_sequence_length` is that of the stock call, for families that take it. Raises
    UnsupportedPipelineError for anything but a pipeline of a known family with its text encoders,
    ConfigError for a length the family cannot have.
    """
    check_diffusers(pipe)
    capabilities = capabilities_of(kind.__name__ for kind in type(pipe).__mro__)
    adapter = next(each for each in _ADAPTERS if each.capabilities is capabilities)
    return adapter(pipe, max_sequence_length)


def check_diffusers(pipe: Any) -> None:
    """Raise UnsupportedPipelineError for what is no diffusers pipeline, naming the one that it holds."""
    if isinstance(pipe, DiffusionPipeline):
        return
    if isinstance(getattr(pipe, "pipe", None), DiffusionPipeline):
        advice = "pass its .pipe, or draw with dfprompt.generate_images, which takes it as it is"
    else:
        advice = (
            "load one with DiffusionPipeline.from_pretrained, or take the .pipe of dfprompt.load_pipeline"
        )
    raise UnsupportedPipelineError(
        f"a diffusers pipeline is needed, not {quote(type(pipe).__name__)}; {advice}"
    )
