"""What each pipeline family can do, as data: read by the adapters, the errors and the command line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from dfprompt.conditioning.value_sites import FLUX_VALUES, TWO_STREAM_VALUES, UNET_VALUES, ValueSite
from dfprompt.errors import UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.requests.render import Weighting as Weighting

WEIGHTINGS: tuple[Weighting, ...] = get_args(Weighting)
# Where every text vector is normalised before it is read, only what turns it acts: multiplying it,
# as `scale` and `mean` do, is divided out again.
_DIRECTIONS: tuple[Weighting, ...] = ("attention", "comfy", "compel")
# The rules under which a weight below 0 means something: values can turn round, encodings cannot.
SIGNED_WEIGHTINGS = frozenset({"attention"})

GENERIC = "generic"
"""The family of every pipeline without an adapter of its own, steered by what its denoisers hear."""
# Where a thing that changes from step to step can be changed: in the keyword arguments of the stock
# call, only with a hook on the denoiser, or not at all because the family has no such thing.
Where = Literal["prepare", "attach", "none"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """One family of pipelines: which classes belong to it and what a DF-Prompt can do there.

    `weighting` is the family's default rule of those in `weightings`; a rule that cannot act there is
    not among them. `value_sites` says where the rule `attention` finds the values of text tokens.
    `chunks` says whether text beyond the window is encoded in chunks (else it is cut).
    `lockstep` says whether the explicit denoising loop knows the family.

    How the stock call goes about it: `guidance` is "stacked" where negative and positive rows are one
    batch, "separate" where the denoiser is called twice. `expands_rows` says whether the call repeats
    given embeddings for num_images_per_prompt itself, and rightly. `default_length` and
    `greatest_length` are max_sequence_length's, 0 where the window is fixed. `even_sigmas` says whether
    it hands its scheduler even sigmas and a shift: never, always, or unless that makes flow sigmas
    itself. `distilled_guidance` says that guidance_scale is for distilled models only.
    """

    family: str
    title: str
    pipelines: tuple[str, ...]
    window: str
    chunks: bool
    weighting: Weighting
    weightings: tuple[Weighting, ...]
    value_sites: tuple[ValueSite, ...]
    ranges: Where
    negative: Where
    pooled: Where
    mask: bool
    lockstep: bool
    remark: str = ""
    guidance: Literal["stacked", "separate"] = "stacked"
    expands_rows: bool = True
    default_length: int = 0
    greatest_length: int = 0
    even_sigmas: Literal["never", "always", "unless flow"] = "never"
    distilled_guidance: bool = False

    def hands_sigmas(self, scheduler: Any) -> bool:
        """Whether the stock call hands this scheduler even sigmas."""
        own = self.even_sigmas == "unless flow" and scheduler.config.get("use_flow_sigmas", False)
        return self.even_sigmas != "never" and not own

    def to_json(self) -> dict[str, Any]:
        """Return the capabilities as a JSON object."""
        return {
            "family": self.family,
            "title": self.title,
            "pipelines": list(self.pipelines),
            "ranges": self.ranges,
            "weights": "attach" if self.weighting == "attention" else "prepare",
            "weighting": self.weighting,
            "weightings": list(self.weightings),
            "negative": self.negative,
            "pooled": self.pooled,
            "absence": ["delete", "mask"] if self.mask else ["delete"],
            "window": self.window,
            "long_prompts": ["chunk", "truncate"] if self.chunks else ["truncate"],
            "lockstep": self.lockstep,
            "remark": self.remark,
        }


STABLE_DIFFUSION = Capabilities(
    family="stable-diffusion",
    title="Stable Diffusion 1 and 2",
    pipelines=(
        "StableDiffusionPipeline",
        "StableDiffusionImg2ImgPipeline",
        "StableDiffusionInpaintPipeline",
        "StableDiffusionControlNetPipeline",
        "StableDiffusionControlNetImg2ImgPipeline",
        "StableDiffusionControlNetInpaintPipeline",
    ),
    window="75 tokens",
    chunks=True,
    weighting="mean",
    weightings=WEIGHTINGS,
    value_sites=UNET_VALUES,
    ranges="prepare",
    negative="prepare",
    pooled="none",
    mask=True,
    lockstep=True,
)
SDXL = Capabilities(
    family="sdxl",
    title="Stable Diffusion XL",
    pipelines=(
        "StableDiffusionXLPipeline",
        "StableDiffusionXLImg2ImgPipeline",
        "StableDiffusionXLInpaintPipeline",
        "StableDiffusionXLControlNetPipeline",
    ),
    window="75 tokens",
    chunks=True,
    weighting="comfy",
    weightings=WEIGHTINGS,
    value_sites=UNET_VALUES,
    ranges="prepare",
    negative="prepare",
    pooled="prepare",
    mask=True,
    lockstep=True,
    remark="the pooled vector is that of the first chunk and carries no weights",
)
SD3 = Capabilities(
    family="sd3",
    title="Stable Diffusion 3",
    pipelines=(
        "StableDiffusion3Pipeline",
        "StableDiffusion3Img2ImgPipeline",
        "StableDiffusion3InpaintPipeline",
    ),
    window="75 CLIP tokens, 256 T5 tokens",
    chunks=True,
    weighting="attention",
    weightings=_DIRECTIONS,
    value_sites=TWO_STREAM_VALUES,
    ranges="prepare",
    negative="prepare",
    pooled="prepare",
    mask=True,
    lockstep=False,
    remark="T5 is cut, not chunked; image-to-image and inpainting change the pooled vector through attach",
    expands_rows=False,
    default_length=256,
    greatest_length=512,
)
FLUX = Capabilities(
    family="flux",
    title="FLUX.1",
    pipelines=("FluxPipeline", "FluxImg2ImgPipeline", "FluxInpaintPipeline"),
    window="512 T5 tokens",
    chunks=False,
    weighting="attention",
    weightings=_DIRECTIONS,
    value_sites=FLUX_VALUES,
    ranges="prepare",
    negative="attach",
    pooled="attach",
    mask=True,
    lockstep=False,
    remark="a negative prompt needs true_cfg_scale above 1; one that stays the same works with prepare",
    guidance="separate",
    expands_rows=False,
    default_length=512,
    greatest_length=512,
    even_sigmas="unless flow",
)
QWEN_IMAGE = Capabilities(
    family="qwen-image",
    title="Qwen-Image",
    pipelines=("QwenImagePipeline", "QwenImageImg2ImgPipeline", "QwenImageInpaintPipeline"),
    window="512 tokens",
    chunks=False,
    weighting="attention",
    weightings=("attention",),
    value_sites=TWO_STREAM_VALUES,
    ranges="attach",
    negative="attach",
    pooled="none",
    mask=False,
    lockstep=False,
    remark="prepare serves prompts whose step texts all have the same number of tokens",
    guidance="separate",
    # The stock call repeats the embeddings row by row but their mask as a block, so that rows of
    # different length would get each other's masks.
    expands_rows=False,
    default_length=512,
    greatest_length=1024,
    even_sigmas="always",
    distilled_guidance=True,
)
FAMILIES: tuple[Capabilities, ...] = (STABLE_DIFFUSION, SDXL, SD3, FLUX, QWEN_IMAGE)
MINI = replace(STABLE_DIFFUSION, title="mini (of Stable Diffusion's classes)", weighting="comfy")


def capabilities_of(class_names: Iterable[str]) -> Capabilities:
    """Return the family of a pipeline class, given its name and those of its bases, nearest first.

    Raises UnsupportedPipelineError naming the classes that are supported.

    >>> capabilities_of(["FluxPipeline"]).family
    'flux'
    """
    names = list(class_names)
    found = find_capabilities(names)
    if found is None:
        known = ", ".join(family.title for family in FAMILIES)
        raise UnsupportedPipelineError(
            f"{quote(names[0] if names else '')} belongs to no family dfprompt prepares arguments for "
            f"({known}); dfprompt.run(pipe, prompt, ...) draws with every pipeline that takes a prompt"
        )
    return found


def family_of(pipe: Any) -> str:
    """Return the family of a pipeline object, GENERIC for one that has no adapter of its own."""
    found = find_capabilities(kind.__name__ for kind in type(pipe).__mro__)
    return GENERIC if found is None else found.family


def find_capabilities(class_names: Iterable[str]) -> Capabilities | None:
    """Return the family of a pipeline class as `capabilities_of` does, None for a class of no family.

    >>> find_capabilities(["PixArtAlphaPipeline"]) is None
    True
    """
    for name in class_names:
        for capabilities in FAMILIES:
            if name in capabilities.pipelines:
                return capabilities
    return None
