"""`ImagePipeline`: a diffusers pipeline that draws DF-Prompts, one seed per picture."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from dfprompt.conditioning.capabilities import GENERIC, family_of
from dfprompt.conditioning.compile import count_windows
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.generic.listening import find_denoisers
from dfprompt.conditioning.lora_words import loaded_loras, named_loras
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.prompts import Dialect, Prompts
from dfprompt.conditioning.run import check_steerable
from dfprompt.conditioning.schedule import Schedule, accepts, read_schedule
from dfprompt.config import make_config
from dfprompt.config.provenance import package_version
from dfprompt.domain import Domain
from dfprompt.errors import DFPromptWarning, UnsupportedPipelineError, each_warning_once
from dfprompt.images.metadata import GenerationMetadata, ModelMark
from dfprompt.pipeline.companions import NOTHING, Companions
from dfprompt.pipeline.defaults import PipelineDefaults, resolve_settings
from dfprompt.pipeline.denoise import check_lockstep, denoise_lockstep
from dfprompt.pipeline.memory import Slices
from dfprompt.pipeline.progress import Report, Steps, reporting
from dfprompt.pipeline.request import Request, read_request
from dfprompt.pipeline.schedulers import make_scheduler
from dfprompt.pipeline.stock import draw_rows, scheduled, warn_of_idle_negative
from dfprompt.requests.doors import takes_fields
from dfprompt.requests.render import RenderSettings

_LOG = logging.getLogger(__name__)
# What usually fits beside the weights: sixteen pictures of 512 x 512, four of 1024 x 1024.
_PIXELS_AT_ONCE = 16 * 512 * 512
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True)
class Origin:
    """Which weights a pipeline was made of, for recipes; the hashes are computed when first asked for."""

    name: str
    hash_weights: Callable[[], str | None] = lambda: None
    vae: ModelMark | None = None
    loras: tuple[ModelMark, ...] = ()
    domain: Domain | None = None
    companions: Companions = NOTHING


@dataclass(frozen=True, eq=False)
class Pictures:
    """Drawn pictures: `images` (B,3,H,W) float32 in [0, 1] on the CPU, and what they were drawn from.

    `evaluations` counts the denoiser evaluations done (one row at one step) and `saved` those that
    sharing spared.
    """

    images: Tensor
    request: Request
    evaluations: int
    saved: int
    pipeline: ImagePipeline

    def recipes(
        self, *, policy: ModelMark | None = None, scores: Mapping[str, Tensor] | None = None
    ) -> list[GenerationMetadata]:
        """Return the recipe of every picture; `scores` holds columns (B,)."""
        columns = {name: values.tolist() for name, values in (scores or {}).items()}
        return [
            self.pipeline.recipe(
                self.request,
                row,
                policy=policy,
                scores={name: values[row] for name, values in columns.items()},
            )
            for row in range(len(self.request))
        ]


# Classes that edit the picture they are given, and draw from text alone without one.
_PICTURE_OPTIONAL = frozenset(
    {"Flux2Pipeline", "Flux2KleinPipeline", "Flux2KleinKVPipeline", "FluxKontextPipeline", "GlmImagePipeline"}
)


class ImagePipeline:
    """A stock diffusers text-to-image pipeline, drawing DF-Prompts with one seed per picture.

    `pipe` is the stock pipeline, `name` what recipes call the model, `family` its family,
    "generic" for a class without an adapter of its own. Raises UnsupportedPipelineError for a pipeline that
    takes no prompt, has no denoiser, or needs a picture to start from.

    >>> # images = ImagePipeline(pipe).generate(["a cat", "a dog, [snow:late]"], seeds=[1, 2])
    """

    def __init__(
        self, pipe: Any, *, origin: Origin | None = None, defaults: PipelineDefaults | None = None
    ) -> None:
        self.family = family_of(pipe)
        if self.family == GENERIC:
            check_steerable(pipe)
        else:
            adapter_for(pipe)
        if accepts(pipe, "image") and type(pipe).__name__ not in _PICTURE_OPTIONAL:
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} starts from a picture, and generate from text alone; "
                "call it yourself with dfprompt.prepare(pipe, ...)"
            )
        self.pipe = pipe
        self.defaults = defaults or PipelineDefaults()
        self.origin = origin or Origin(self.defaults.name or type(pipe).__name__)

    @property
    def name(self) -> str:
        """What recipes and tables call the model."""
        return self.origin.name

    @property
    def dtype(self) -> torch.dtype:
        """The precision the denoiser runs in."""
        generic = self.family == GENERIC
        denoiser = find_denoisers(self.pipe)[0] if generic else adapter_for(self.pipe).denoiser
        dtype: torch.dtype = denoiser.dtype
        return dtype

    @cached_property
    def mark(self) -> ModelMark:
        """The model's name, hash and family, as recipes carry them."""
        return ModelMark(name=self.name, hash=self.origin.hash_weights(), family=self.family)

    def to(self, device: str | torch.device) -> ImagePipeline:
        """Move the weights, so that pipeline and scorers can take turns; not with offloading."""
        self.pipe.to(device)
        return self

    @takes_fields(RenderSettings)
    def generate(
        self,
        prompts: Prompts,
        seeds: int | Sequence[int],
        *,
        negative_prompt: Prompts | None = None,
        share: bool = False,
        dialect: str = "native",
        plain: bool = False,
        strict: bool = False,
        progress: bool | Report = False,
        **settings: Any,
    ) -> Tensor:
        """Draw one picture per prompt and seed: (B,3,H,W) float32 in [0, 1] on the CPU.

        A picture depends on its prompt, its seed and the settings, not on the batch it is drawn in
        (to floating-point tolerance). `settings` are the fields of RenderSettings; what is left out has the
        pipeline's own default. `share` computes what rows have in common once. Raises ParseError,
        PromptValueError or ConfigError for bad input, UnsupportedPipelineError for what the pipeline cannot
        do, GenerationError when drawing fails.

        >>> # images = pipeline.generate("a red horse, [anime style:early:1.5]", seeds=[1, 2, 3])
        """
        return self.draw(
            prompts,
            seeds,
            make_config(RenderSettings, settings, origin="render settings"),
            negative_prompt=negative_prompt,
            dialect=Dialect(dialect, plain, strict),
            share=share,
            progress=progress,
        ).images

    def draw(
        self,
        prompts: Prompts,
        seeds: int | Sequence[int],
        settings: RenderSettings | None = None,
        *,
        negative_prompt: Prompts | None = None,
        dialect: Dialect | None = None,
        share: bool = False,
        progress: bool | Report = False,
    ) -> Pictures:
        """Draw as `generate` does, and keep what is needed for recipes and counts.

        With `share`, rows are drawn in the lockstep loop; where it does not know the pipeline or the
        scheduler, a DFPromptWarning says so and the stock call draws.
        """
        request = self.read(prompts, seeds, settings, negative_prompt=negative_prompt, dialect=dialect)
        return self.draw_request(request, share=share, progress=progress)

    def read(
        self,
        prompts: Prompts,
        seeds: int | Sequence[int],
        settings: RenderSettings | None = None,
        *,
        negative_prompt: Prompts | None = None,
        dialect: Dialect | None = None,
    ) -> Request:
        """Read and check what is to be drawn, with every default filled in; nothing runs yet."""
        chosen = self.resolve(settings)
        reading = replace(dialect or Dialect(), loaded=loaded_loras(self.pipe))
        request = read_request(prompts, seeds, negative_prompt, chosen, reading)
        if self.origin.domain is not None:
            self.origin.domain.check_words([words for prompt in request.prompts for words in prompt.runs])
        return request

    def resolve(self, settings: RenderSettings | None = None) -> RenderSettings:
        """Fill what is not set with the pipeline's own defaults; raises ConfigError for what cannot be."""
        return resolve_settings(self.pipe, self.defaults, settings or RenderSettings())

    def schedule(self, settings: RenderSettings | None = None) -> Schedule:
        """Return the denoiser evaluations that drawing with these settings makes; nothing is drawn."""
        chosen = self.resolve(settings)
        with scheduled(self.pipe, make_scheduler(str(chosen.scheduler), self.pipe)):
            return read_schedule(
                self.pipe,
                num_inference_steps=chosen.num_inference_steps,
                clock=chosen.clock,
                height=chosen.height,
                width=chosen.width,
            )

    def reader(self) -> ImagePipeline:
        """Return a twin with the same weights and a scheduler of its own: plans can be read off it in one
        thread while this one draws in another.
        """
        pipe = copy.copy(self.pipe)
        object.__setattr__(pipe, "scheduler", copy.deepcopy(self.pipe.scheduler))
        return ImagePipeline(pipe, origin=self.origin, defaults=self.defaults)

    def draw_request(
        self, request: Request, *, share: bool = False, progress: bool | Report = False
    ) -> Pictures:
        """Draw what `read` returned."""
        scheduler = make_scheduler(str(request.settings.scheduler), self.pipe)
        with (
            scheduled(self.pipe, scheduler),
            _tiled(self.pipe, request.settings.vae_tiling),
            each_warning_once(),
            reporting(progress, f"drawing {request.size()}") as report,
        ):
            warn_of_idle_negative(self.pipe, request)
            return self._draw(request, share and self._can_share(request), report)

    def _can_share(self, request: Request) -> bool:
        try:
            check_lockstep(self.pipe)
            if named_loras(self.pipe, request.prompts):
                raise UnsupportedPipelineError("words set a LoRA from step to step")
        except UnsupportedPipelineError as error:
            warnings.warn(f"every picture is drawn by itself: {error}", DFPromptWarning, stacklevel=4)
            return False
        return True

    def _draw(self, request: Request, share: bool, report: Report) -> Pictures:
        schedule = read_schedule(self.pipe, num_inference_steps=request.settings.num_inference_steps)
        steps = Steps(report, len(request) * schedule.evaluations)
        slices = Slices(request.settings.batch_size or _usual_batch(request.settings))
        images: list[Tensor | None] = [None] * len(request)
        done = saved = 0
        for rows in self._groups(request):
            part = request.take(rows)
            if share:
                drawn, made, spared = denoise_lockstep(self.pipe, part, slices, steps)
            else:
                drawn, made, spared = (
                    self._draw_apart(part, slices, steps),
                    len(rows) * schedule.evaluations,
                    0,
                )
            done, saved = done + made, saved + spared
            for row, image in zip(rows, drawn, strict=True):
                images[row] = image
        _LOG.info("drew %d pictures with %s: %d evaluations, %d saved", len(request), self.name, done, saved)
        return Pictures(
            torch.stack([each for each in images if each is not None]), request, done, saved, self
        )

    def _draw_apart(self, request: Request, slices: Slices, steps: Steps) -> Tensor:
        """Draw every row with the stock call; rows go by number, so a slice that failed is drawn again."""

        def work(rows: Sequence[int]) -> list[Tensor]:
            return list(draw_rows(self.pipe, request.take(rows), steps))

        return torch.stack(slices.run(work, range(len(request))))

    def _groups(self, request: Request) -> list[list[int]]:
        """Return rows that can share a batch without changing each other: those of one length and LoRA."""
        settings = request.settings
        schedule = read_schedule(
            self.pipe,
            num_inference_steps=settings.num_inference_steps,
            clock=settings.clock,
            height=settings.height,
            width=settings.width,
        )
        if self.family == GENERIC:  # its own encoding decides, and rows of one batch fit each other
            windows: Sequence[int] = [1] * len(request)
        else:
            adapter = adapter_for(self.pipe, max_sequence_length=settings.max_sequence_length)
            options = Options(absence=settings.absence, long_prompts=settings.long_prompts)
            windows = count_windows(adapter, request.prompts, request.negatives, schedule, options)
        groups: dict[Hashable, list[int]] = {}
        for row, count in enumerate(windows):
            # A LoRA belongs to the model: rows whose words set it differently are drawn apart.
            loras = tuple(str(span) for span in request.prompts[row].tags)
            groups.setdefault((count, loras), []).append(row)
        return list(groups.values())

    def recipe(
        self,
        request: Request,
        row: int,
        *,
        policy: ModelMark | None = None,
        scores: Mapping[str, float] | None = None,
    ) -> GenerationMetadata:
        """Return the recipe of one picture of a request."""
        prompt, negatives = request.prompts[row], request.negatives
        settings = request.settings.model_dump(exclude={"batch_size"}, exclude_none=True)
        return GenerationMetadata(
            version=package_version("dfprompt") or "unknown",
            prompt=prompt.plain_text,
            df_prompt=str(prompt),
            negative_prompt=None if negatives is None else str(negatives[row]),
            plain_negative_prompt=None if negatives is None else negatives[row].plain_text,
            seed=request.seeds[row],
            settings={**settings, "dtype": str(self.dtype).removeprefix("torch.")},
            model=self.mark,
            vae=self.origin.vae,
            loras=self.origin.loras,
            policy=policy,
            scores=scores or {},
        )


def _usual_batch(settings: RenderSettings) -> int:
    pixels = int(settings.height or 512) * int(settings.width or 512)
    return max(1, min(_PICTURES_AT_ONCE, _PIXELS_AT_ONCE // pixels))


@contextmanager
def _tiled(pipe: Any, tiling: bool) -> Iterator[None]:
    """Let the VAE decode in tiles while the block lasts, if asked."""
    before = getattr(pipe.vae, "use_tiling", False)
    if not tiling or before:
        yield
        return
    pipe.vae.enable_tiling()
    try:
        yield
    finally:
        pipe.vae.disable_tiling()
