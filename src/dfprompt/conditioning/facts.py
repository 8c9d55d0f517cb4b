"""What a running call says, held against what was prepared for it: read at its first step."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.ownership import find_pipeline_call
from dfprompt.errors import GenerationError

# How far apart two computations of a timestep may lie, one of them cut to the training range.
_HAIR = 2e-2
ATTENTION_ARGUMENTS = ("cross_attention_kwargs", "joint_attention_kwargs", "attention_kwargs")


@dataclass(frozen=True)
class CallFacts:
    """What the prepared tensors stand on: schedule, rows, and how the texts were encoded."""

    compiled: Compiled
    images_per_prompt: int
    options: Options

    def check(self, pipe: Any) -> None:
        """Raise GenerationError where the running call says otherwise than what was prepared."""
        frame = find_pipeline_call(sys._getframe(1))
        call = {} if frame is None else frame.f_locals
        self._check_schedule(pipe)
        self._check_clock(pipe)
        self._check_rows(call)
        self._check_encoding(call)
        if call.get("skip_guidance_layers") and any(map(self.compiled.changes, range(1, self.evaluations))):
            raise GenerationError(
                "skip_guidance_layers makes a pass that keeps the first step's text, so words with a range "
                "would be guided by the wrong text; draw with dfprompt.run, which reaches that pass too"
            )

    @property
    def evaluations(self) -> int:
        """How many denoiser evaluations were prepared."""
        return self.compiled.evaluations

    def _check_schedule(self, pipe: Any) -> None:
        schedule = self.compiled.schedule
        running = getattr(pipe, "num_timesteps", self.evaluations)
        whole = len(pipe.scheduler.timesteps)
        start, end = (getattr(pipe, name, None) for name in ("denoising_start", "denoising_end"))
        # SDXL's base may be told to stop early by the call alone; its steps are still the prepared ones.
        stopped = end is not None and schedule.end is None and running <= self.evaluations
        begun = getattr(pipe.scheduler, "begin_index", None)
        moved = stopped and begun is not None and begun != schedule.begin
        if whole == len(schedule.steps) and (running == self.evaluations or stopped) and not moved:
            return
        advice = "num_inference_steps, timesteps, strength and scheduler"
        if start is not None:
            advice = f"denoising_start={start:g}, num_inference_steps and scheduler"
        raise GenerationError(
            f"the pipeline makes {running} denoiser evaluations of {whole}, but {self.evaluations} of "
            f"{len(schedule.steps)} were prepared; prepare again with the same {advice}"
        )

    def _check_clock(self, pipe: Any) -> None:
        """Where the clock reads timesteps, they must be those that run, and not as many others."""
        prepared = self.compiled.schedule.timesteps or ()
        running = [float(each) for each in pipe.scheduler.timesteps]
        # Of the prepared ones what lay a hair outside the training range was clamped.
        if any(abs(one - other) > _HAIR for one, other in zip(prepared, running, strict=False)):
            raise GenerationError(
                "the call runs other timesteps than were prepared, and the clock timestep reads them; "
                "prepare again with the same timesteps, sigmas, height, width and scheduler"
            )

    def _check_rows(self, call: Mapping[str, Any]) -> None:
        # Where the stock call would repeat embeddings wrongly they come repeated, and it repeats nothing.
        prepared = self.images_per_prompt if self.compiled.adapter.capabilities.expands_rows else 1
        asked = call.get("num_images_per_prompt", prepared)
        if asked not in (None, prepared):
            raise GenerationError(
                f"the call says num_images_per_prompt={asked}, but {self.images_per_prompt} was prepared; "
                "give it to dfprompt.prepare or attach, which hand it on"
            )

    def _check_encoding(self, call: Mapping[str, Any]) -> None:
        skip = call.get("clip_skip")
        if skip is not None and skip != self.options.clip_skip:
            raise GenerationError(
                f"the call says clip_skip={skip}, but the texts were encoded with {self.options.clip_skip}; "
                "give it to dfprompt.prepare or attach"
            )
        length, encoded = call.get("max_sequence_length"), self.compiled.adapter.length
        if encoded and length is not None and length != encoded:
            raise GenerationError(
                f"the call says max_sequence_length={length}, but the texts were encoded with {encoded}; "
                "give it to dfprompt.prepare or attach, which hand it on"
            )
        scale = lora_scale(call)
        prepared = 1.0 if self.options.lora_scale is None else self.options.lora_scale
        if scale is not None and scale != prepared and self._has_adapters():
            raise GenerationError(
                f"the call scales LoRA layers by {scale:g}, but the texts were encoded with {prepared:g}; "
                f"give dfprompt.prepare or attach lora_scale={scale:g}, which reaches the call too"
            )

    def _has_adapters(self) -> bool:
        """Whether an encoder has LoRA layers, which the scale would have scaled."""
        return any(
            hasattr(type(layer), "merged_adapters")
            for encoder in self.compiled.adapter.encoders
            for layer in encoder.module.modules()
        )


def lora_scale(call: Mapping[str, Any]) -> float | None:
    """Return the `scale` in a call's attention arguments, None where there is none.

    >>> lora_scale({"cross_attention_kwargs": {"scale": 0.5}})
    0.5
    """
    given = (call.get(name) for name in ATTENTION_ARGUMENTS)
    scales = [each["scale"] for each in given if isinstance(each, Mapping) and "scale" in each]
    return scales[0] if scales else None
