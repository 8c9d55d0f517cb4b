"""The lockstep denoising loop: what several rows have in common is computed once.

Rows with the same noise that have heard the same so far are one computation; it splits where their
conditioning first differs, and the scheduler's memory of the row splits with it. An ablation or a search
over ranges and weights of one prompt shares most of its steps that way. The loop repeats what the
stock text-to-image calls of Stable Diffusion 1, 2 and XL do; other pipelines are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.ownership import OwnRun, RunHooks
from dfprompt.conditioning.schedule import read_schedule
from dfprompt.conditioning.value_weights import ValueWeights
from dfprompt.errors import UnsupportedPipelineError
from dfprompt.pipeline.decode import decode_latents
from dfprompt.pipeline.memory import Slices
from dfprompt.pipeline.progress import Steps
from dfprompt.pipeline.request import Request
from dfprompt.pipeline.row_state import check_row_state, select_rows
from dfprompt.pipeline.sharing import Level, count_evaluations, share_rows
from dfprompt.pipeline.stock import check_pictures, make_generators, report_hidden

LOCKSTEP_PIPELINES = ("StableDiffusionPipeline", "StableDiffusionXLPipeline")


class Denoised(NamedTuple):
    """Pictures (B,3,H,W) in [0, 1] on the CPU; denoiser evaluations done and saved by sharing.

    One evaluation is one row at one step, its negative row included; `done` + `saved` is what the
    rows would have taken each by itself.
    """

    images: Tensor
    done: int
    saved: int


def check_lockstep(pipe: Any) -> None:
    """Raise UnsupportedPipelineError unless the loop knows this pipeline and its scheduler."""
    name = type(pipe).__name__
    if name not in LOCKSTEP_PIPELINES:
        raise UnsupportedPipelineError(
            f"the lockstep loop runs {' and '.join(LOCKSTEP_PIPELINES)}, not {name}; draw without sharing"
        )
    if getattr(pipe.unet, "encoder_hid_proj", None) is not None:
        raise UnsupportedPipelineError(
            "the lockstep loop hands no pictures to an IP-Adapter; unload it first"
        )
    check_row_state(pipe.scheduler)


def compile_request(pipe: Any, request: Request) -> Compiled:
    """Encode the prompts of a request for its run, all rows padded to one number of windows."""
    settings = request.settings
    schedule = read_schedule(
        pipe,
        num_inference_steps=settings.num_inference_steps,
        clock=settings.clock,
        height=settings.height,
        width=settings.width,
    )
    options = Options(
        settings.weighting, settings.absence, settings.clip_skip, long_prompts=settings.long_prompts
    )
    return compile_prompts(adapter_for(pipe), request.prompts, request.negatives, schedule, options)


@torch.no_grad()
def denoise_lockstep(pipe: Any, request: Request, slices: Slices, steps: Steps) -> Denoised:
    """Draw the rows of a request together, every distinct computation once.

    Pictures equal those of the stock call to floating-point tolerance. `slices` limits how many
    computations the denoiser takes at a time. Raises UnsupportedPipelineError for pipelines and
    schedulers the loop does not know, GenerationError for NaN and for too little memory.
    """
    check_lockstep(pipe)
    compiled = compile_request(pipe, request)
    run = _Run(pipe, request, compiled, slices)
    levels = share_rows(request.seeds, [run.hears(row) for row in range(len(request))])
    latents = run.start(levels[0])
    with run.weighing():
        for k, level in enumerate(levels):
            if k:
                latents = run.split(latents, level)
            latents = run.step(k, level, latents)
            steps.show((k + 1) * len(request))
    last = levels[-1]
    images = run.decode(latents, last)[torch.tensor(last.group_of)]
    pipe.maybe_free_model_hooks()
    steps.finish(len(request) * compiled.evaluations)
    done = count_evaluations(levels)
    return Denoised(check_pictures(images, request), done, len(request) * compiled.evaluations - done)


class _Run:
    """One run of the loop: the pipeline, the scheduler's state and a generator for each computation."""

    def __init__(self, pipe: Any, request: Request, compiled: Compiled, slices: Slices) -> None:
        self.pipe, self.request, self.compiled, self.slices = pipe, request, compiled, slices
        self.scale = float(request.settings.guidance_scale or 0.0)
        # A model that takes its guidance as an input was distilled and needs no negative pass.
        self.embeds_guidance = pipe.unet.config.time_cond_proj_dim is not None
        self.guided = self.scale > 1 and not self.embeds_guidance
        self.scheduler = pipe.scheduler
        self.scheduler.set_timesteps(request.settings.num_inference_steps, device=pipe._execution_device)
        if type(pipe).__name__ == "StableDiffusionXLPipeline" and hasattr(self.scheduler, "set_begin_index"):
            self.scheduler.set_begin_index(0)
        self.generators: list[torch.Generator] = []
        self.values: ValueWeights | None = None

    def hears(self, row: int) -> list[tuple[int, ...]]:
        """Return what a row hears at each evaluation; without guidance the negative is not heard."""
        keys = [self.compiled.key(row, k) for k in range(self.compiled.evaluations)]
        return [key if self.guided else (key.positive, key.positive_weights) for key in keys]

    def start(self, level: Level) -> Tensor:
        """Return the noise (G,C,h,w) of the first level, scaled for the scheduler."""
        settings = self.request.settings
        self.generators = make_generators([self.request.seeds[row] for row in level.rows])
        latents: Tensor = self.pipe.prepare_latents(
            len(level.rows),
            self.pipe.unet.config.in_channels,
            settings.height,
            settings.width,
            self.compiled.bank.dtype,
            self.pipe._execution_device,
            self.generators,
        )
        return latents

    def split(self, latents: Tensor, level: Level) -> Tensor:
        """Return the latents of the next level, each computation going on from its parent."""
        if level.parents == tuple(range(len(latents))):
            return latents
        parents = torch.tensor(level.parents)
        select_rows(self.scheduler, parents, len(latents))
        self.generators = [_copy_generator(self.generators[parent]) for parent in level.parents]
        return latents.index_select(0, parents.to(latents.device))

    def step(self, k: int, level: Level, latents: Tensor) -> Tensor:
        """Make evaluation k for all computations of its level, and the scheduler's step after it."""
        timestep = self.scheduler.timesteps[k]
        numbers = list(range(len(level.rows)))
        predictions = self.slices.run(
            lambda some: list(self._predict(k, [level.rows[number] for number in some], latents[some])),
            numbers,
        )
        # As the stock call: every row's own generator and no eta, for the schedulers that take them.
        extra = self.pipe.prepare_extra_step_kwargs(self.generators, 0.0)
        stepped: Tensor = self.scheduler.step(
            torch.stack(predictions), timestep, latents, **extra, return_dict=False
        )[0]
        return stepped

    def _predict(self, k: int, rows: Sequence[int], latents: Tensor) -> Tensor:
        """Return the guided prediction (G,C,h,w) for these rows' conditioning at evaluation k."""
        heard = self.compiled.at(k, rows)
        self._hear_weights(k, rows)
        timestep = self.scheduler.timesteps[k]
        inputs = self.scheduler.scale_model_input(torch.cat([latents] * (2 if self.guided else 1)), timestep)
        predicted: Tensor = self.pipe.unet(
            inputs,
            timestep,
            encoder_hidden_states=self._sides(heard, "prompt_embeds"),
            timestep_cond=self._guidance_embedding(latents),
            added_cond_kwargs=self._added(heard),
            return_dict=False,
        )[0]
        if not self.guided:
            return predicted
        negative, positive = predicted.chunk(2)
        return negative + self.scale * (positive - negative)

    @contextmanager
    def weighing(self) -> Iterator[None]:
        """Let weights act in the denoiser's attention while the block lasts, where the rule says so."""
        if not self.compiled.weighs:
            yield
            return
        with RunHooks([self.pipe.unet], OwnRun()) as hooks:
            self.values = ValueWeights(self.pipe.unet, self.compiled.adapter.capabilities.value_sites)
            self.values.put(hooks)
            yield

    def _hear_weights(self, k: int, rows: Sequence[int]) -> None:
        weights = self.compiled.token_weights(k, rows)
        if self.values is not None:
            self.values.hear(None if weights is None else self._sides(weights, "token_weights"))

    def _sides(self, heard: dict[str, Tensor], name: str) -> Tensor:
        return torch.cat([heard[f"negative_{name}"], heard[name]]) if self.guided else heard[name]

    def _added(self, heard: dict[str, Tensor]) -> dict[str, Tensor] | None:
        """Return what SDXL adds to the time embedding: the pooled vector and the picture's size."""
        if "pooled_prompt_embeds" not in heard:
            return None
        pooled = self._sides(heard, "pooled_prompt_embeds")
        size = (self.request.settings.height, self.request.settings.width)
        second = self.pipe.text_encoder_2
        width = pooled.shape[-1] if second is None else second.config.projection_dim
        times = self.pipe._get_add_time_ids(
            size, (0, 0), size, dtype=heard["prompt_embeds"].dtype, text_encoder_projection_dim=width
        )
        return {"text_embeds": pooled, "time_ids": times.to(pooled.device).repeat(len(pooled), 1)}

    def _guidance_embedding(self, latents: Tensor) -> Tensor | None:
        if not self.embeds_guidance:
            return None
        scales = torch.tensor(self.scale - 1).repeat(len(latents))
        width = self.pipe.unet.config.time_cond_proj_dim
        embedding: Tensor = self.pipe.get_guidance_scale_embedding(scales, embedding_dim=width).to(latents)
        return embedding

    def decode(self, latents: Tensor, level: Level) -> Tensor:
        """Return the pictures (G,3,H,W) of the last level's computations, on the CPU."""

        def work(some: Sequence[int]) -> list[Tensor]:
            generators = [self.generators[number] for number in some]
            images, hidden = decode_latents(self.pipe, latents[list(some)], generators)
            report_hidden(self.request.take([level.rows[number] for number in some]), hidden)
            return list(images.float().cpu())

        return torch.stack(self.slices.run(work, list(range(len(level.rows)))))


def _copy_generator(generator: torch.Generator) -> torch.Generator:
    copied = torch.Generator(generator.device)
    copied.set_state(generator.get_state())
    return copied
