"""Pipelines by name, and pictures drawn with them: "mini", a folder, a .safetensors file, a hub id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dfprompt.api.companions import MINI
from dfprompt.api.world import mini_folder, reading_mini
from dfprompt.conditioning.prompts import Dialect, Prompts
from dfprompt.config import make_config
from dfprompt.config.keywords import names_keywords
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.pipeline.load import load_pipeline_from
from dfprompt.pipeline.progress import Report
from dfprompt.requests.render import LoadRequest, Offload, RenderRequest, RenderSettings


@names_keywords
def load_pipeline(
    source: str | Path = MINI,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offload: Offload = "none",
    loras: Sequence[str | Path | tuple[str | Path, float]] = (),
    vae: str | Path | None = None,
    config: str | Path | None = None,
) -> ImagePipeline:
    """Load a text-to-image pipeline by name: "mini", a folder, a single file or a hub id.

    `loras` are files, folders or hub ids, "FILE:0.8" for a strength; `vae` a folder or file; `config`
    a folder with the configuration of a single .safetensors file's base model, or with all that a .gguf
    file, a packed denoiser, lacks. Only a hub id touches the network, after a warning with size, licence
    and folder. Raises LoadError naming what is missing, damaged or pickled.

    >>> pipeline = load_pipeline("mini")
    >>> text, steps = "a red house, [watercolor:late]", {"num_inference_steps": 2}
    >>> pipeline.generate(text, seeds=[1, 2], **steps).shape
    torch.Size([2, 3, 64, 64])
    """
    place = mini_folder("pipeline") if source == MINI else source
    with reading_mini(Path(place)) if source == MINI else nullcontext():
        return load_pipeline_from(
            place, device=device, dtype=dtype, offload=offload, loras=loras, vae=vae, config=config
        )


def open_pipeline(request: RenderRequest) -> ImagePipeline:
    """Return the pipeline of a request, loaded as it says where it is a name."""
    if isinstance(request.pipeline, ImagePipeline):
        return request.pipeline
    loading = {name: getattr(request, name) for name in LoadRequest.model_fields}
    return load_pipeline(request.pipeline, **loading)


@names_keywords
def generate_images(
    prompts: Prompts,
    seeds: int | Sequence[int] = 0,
    pipeline: str | Path | ImagePipeline = MINI,
    *,
    negative_prompt: Prompts | None = None,
    settings: RenderSettings | Mapping[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    dialect: str = "native",
    plain: bool = False,
    strict: bool = False,
    share: bool = False,
    progress: bool | Report = False,
) -> Pictures:
    """Draw DF-Prompts: `.images` (B,3,H,W) in [0, 1], and `.recipes()` that say how they were drawn.

    `pipeline` is a name as `load_pipeline` takes it, or a loaded pipeline; `settings` are those of
    RenderSettings, as a mapping too. Raises what `load_pipeline` and `ImagePipeline.generate` raise.

    >>> steps = {"num_inference_steps": 2}
    >>> pictures = generate_images("a house, [bokeh:late]", [1, 2], settings=steps)
    >>> [(recipe.df_prompt, recipe.seed) for recipe in pictures.recipes()]
    [('a house, [bokeh:late]', 1), ('a house, [bokeh:late]', 2)]
    """
    loaded = pipeline
    if not isinstance(loaded, ImagePipeline):
        loaded = load_pipeline(loaded, device=device, dtype=dtype)
    chosen = settings
    if not isinstance(chosen, RenderSettings):
        chosen = make_config(RenderSettings, dict(chosen or {}), origin="render settings")
    return loaded.draw(
        prompts,
        seeds,
        chosen,
        negative_prompt=negative_prompt,
        dialect=Dialect(dialect, plain, strict),
        share=share,
        progress=progress,
    )
