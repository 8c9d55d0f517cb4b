"""Weights by attention in pipelines that are steered by listening: what a family must say for them.

The encoding and the order of the steps are the pipeline's own affair; a family only declares where its
value projections are, which argument carries the text, how its rows are ordered and which token
comes from which characters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dfprompt.conditioning.attention_rule import find_argument
from dfprompt.conditioning.generic import places
from dfprompt.conditioning.generic.texts import Timetable
from dfprompt.conditioning.ownership import RunHooks
from dfprompt.conditioning.schedule import call_default
from dfprompt.conditioning.tokens import assign_weights
from dfprompt.conditioning.value_sites import (
    FLUX2_VALUES,
    FLUX_VALUES,
    KREA2_VALUES,
    TWO_STREAM_VALUES,
    UNET_VALUES,
    WAN_VALUES,
    Z_IMAGE_VALUES,
    ValueSite,
)
from dfprompt.conditioning.value_weights import ValueWeights
from dfprompt.errors import GenerationError, UnsupportedPipelineError
from dfprompt.prompt.plan import PlannedStep

Row = PlannedStep | None
_IMAGES = ("num_images_per_prompt", "num_videos_per_prompt")


@dataclass(frozen=True, slots=True)
class WeightedFamily:
    """Where weights act in the pipelines of a family that has no adapter of its own.

    `classes` is a regular expression for the names of the pipeline classes. `order` is "separate" where
    prompt and negative prompt are two calls of the denoiser, "positive" or "negative" where they are one
    batch that begins with the one or the other (and ends with a perturbed copy of the prompt). `text` is
    the denoiser's argument with the encoding, `mask` the one that says which tokens are real, where the
    family has it.
    """

    title: str
    classes: str
    sites: tuple[ValueSite, ...]
    places: Callable[[Any, str, int, int], places.Places]
    order: Literal["separate", "positive", "negative"] = "separate"
    text: str = "encoder_hidden_states"
    mask: str | None = None


# What the names of Stable Diffusion's classes are made of; other classes of theirs make calls of their own.
_VARIANT = r"(ControlNet(Union|XS)?|Adapter)?(PAG)?(Img2Img|Inpaint(ing)?)?Pipeline"

WEIGHTED_FAMILIES = (
    WeightedFamily(
        "Z-Image",
        r"ZImage(?!Omni)\w*Pipeline",
        Z_IMAGE_VALUES,
        places.z_image_places,
        order="positive",
        text="cap_feats",
    ),
    WeightedFamily("FLUX.2", r"Flux2(?!Klein)\w*Pipeline", FLUX2_VALUES, places.flux2_places),
    WeightedFamily("FLUX.2 klein", r"Flux2Klein\w*Pipeline", FLUX2_VALUES, places.klein_places),
    WeightedFamily("Wan", r"Wan(?!Animate)\w*Pipeline", WAN_VALUES, places.wan_places),
    WeightedFamily("Chroma", r"Chroma\w*Pipeline", FLUX_VALUES, places.t5_places),
    WeightedFamily("Krea 2", r"Krea2\w*Pipeline", KREA2_VALUES, places.krea2_places),
    WeightedFamily(
        "Stable Diffusion",
        rf"(StableDiffusion(XL)?|AnimateDiff(SDXL|Sparse)?){_VARIANT}|AnimateDiffVideoToVideo(ControlNet)?Pipeline"
        r"|LatentConsistencyModel(Img2Img)?Pipeline",
        UNET_VALUES,
        places.clip_places,
        order="negative",
    ),
    WeightedFamily(
        "Stable Diffusion 3",
        r"StableDiffusion3(ControlNet)?(Img2Img|Inpaint(ing)?)?Pipeline",
        TWO_STREAM_VALUES,
        places.sd3_places,
        order="negative",
    ),
    WeightedFamily(
        "FLUX.1",
        rf"Flux(Control|Kontext|Fill)?{_VARIANT}",
        FLUX_VALUES,
        places.flux_places,
    ),
    WeightedFamily(
        "Qwen-Image",
        r"QwenImage(Edit|ControlNet)\w*Pipeline",
        TWO_STREAM_VALUES,
        places.qwen_places,
        mask="encoder_hidden_states_mask",
    ),
)


def find_weighted(class_names: Iterable[str]) -> WeightedFamily | None:
    """Return the family of a pipeline class, given its name and those of its bases, nearest first.

    >>> find_weighted(["WanPipeline"]).title
    'Wan'
    """
    for name in class_names:
        for family in WEIGHTED_FAMILIES:
            if re.fullmatch(family.classes, name):
                return family
    return None


class HeardWeights:
    """The token weights of one run: what each denoiser call hears, by the texts of its rows."""

    def __init__(self, pipe: Any, family: WeightedFamily, table: Timetable, call: Mapping[str, Any]) -> None:
        self._pipe = pipe
        self._family = family
        self._table = table
        if further := set(table.plans) - {"prompt", "negative_prompt"}:
            raise UnsupportedPipelineError(
                f"{', '.join(sorted(further))} beside weights: tokens of two texts have no common weight; "
                "leave the weights or the further prompts out"
            )
        given = call.get("max_sequence_length") or call_default(pipe, "max_sequence_length")
        self._length = int(given or 512)
        self._images = next((int(call[name]) for name in _IMAGES if call.get(name)), 1)
        self._known: dict[tuple[Any, ...], list[float]] = {}

    def put(self, hooks: RunHooks, denoisers: Sequence[nn.Module]) -> None:
        """Put hooks on the value projections of every denoiser, to act for the run that owns `hooks`.

        A ControlNet whose blocks are of another kind is left alone; a denoiser is refused by name.
        """
        main = [getattr(self._pipe, name, None) for name in ("transformer", "transformer_2", "unet")]
        for module in denoisers:
            try:
                values = ValueWeights(module, self._family.sites)
            except UnsupportedPipelineError:
                if any(module is each for each in main):
                    raise
                continue
            hooks.on_input(module, partial(self._begin, hooks, values))
            values.put(hooks)
            hooks.on_output(module, partial(self._end, values))

    def _begin(
        self,
        hooks: RunHooks,
        values: ValueWeights,
        module: nn.Module,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> None:
        heard = find_argument(module, arguments, keywords, self._family.text)
        mask = keywords.get(self._family.mask) if self._family.mask else None
        lengths = [len(row) for row in heard] if mask is None else mask.sum(dim=1).int().tolist()
        values.hear(self._weights(hooks.evaluation, hooks.call, lengths, max(len(row) for row in heard)))

    def _end(self, values: ValueWeights, _module: nn.Module, _arguments: Any, _output: Any) -> None:
        values.check()

    def _weights(self, evaluation: int, call: int, lengths: Sequence[int], tokens: int) -> Tensor | None:
        """Return the weights (B,T) of a call whose rows have these numbers of real tokens."""
        if evaluation >= self._table.schedule.evaluations:
            return None
        sides = [self._steps("prompt", evaluation), self._steps("negative_prompt", evaluation)]
        if self._family.order == "separate":
            rows = sides[1 if call == 1 else 0]
        else:
            rows = self._batch(sides[0], sides[1], len(lengths))
        if not rows or not any(step is not None and step.weights for step in rows):
            return None
        if len(lengths) % len(rows):
            raise GenerationError(
                f"{type(self._pipe).__name__} runs {len(lengths)} rows, which {len(rows)} rows of weights "
                "cannot be spread over; leave the weights out"
            )
        images = len(lengths) // len(rows)
        spread = [step for step in rows for _ in range(images)]
        weights = [
            self._row(step, length) if step is not None else []
            for step, length in zip(spread, lengths, strict=True)
        ]
        return torch.tensor([[*row, *[1.0] * (tokens - len(row))] for row in weights])

    def _batch(self, own: list[Row], against: list[Row], count: int) -> list[Row]:
        """Return what the rows of one batch say: prompts alone, or both sides in the family's order."""
        if count == len(own) * self._images:
            return own
        against = against or [None] * len(own)
        if self._family.order == "positive":
            return [*own, *against]
        perturbed = own if getattr(self._pipe, "do_perturbed_attention_guidance", False) else []
        guided = against if getattr(self._pipe, "do_classifier_free_guidance", True) else []
        return [*guided, *own, *perturbed]

    def _steps(self, name: str, evaluation: int) -> list[Row]:
        """Return what each row of a prompt says at an evaluation; one negative prompt serves all rows."""
        plans = list(self._table.plans.get(name, ()))
        if len(plans) == 1:
            plans *= len(self._table.plans["prompt"])
        return [plan.steps[evaluation] for plan in plans]

    def _row(self, step: PlannedStep, heard: int) -> list[float]:
        key = (step.text, step.weights, heard)
        if key not in self._known:
            weighted = [(part.start, part.end, float(part.weight)) for part in step.weights]
            found = self._family.places(self._pipe, step.text, self._length, heard)
            self._known[key] = assign_weights(step.text, found[:heard], weighted)
        return self._known[key]
