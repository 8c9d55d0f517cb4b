"""A DF-Prompt as ComfyUI's conditioning: each text of the plan between the percents of its steps."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from dfprompt.errors import InputError
from dfprompt.prompt import DFPrompt, make_plan
from dfprompt.prompt.dialects.nodes import texts_by_step
from dfprompt.prompt.exact import share
from dfprompt.prompt.formatter import explain_silence
from dfprompt.prompt.reading import read_prompt

_BISECTIONS = 80


class Run(NamedTuple):
    """The steps of a sampler: how many, and where they lie on the clock of percents (None: evenly)."""

    steps: int
    sigmas: tuple[float, ...] | None = None
    percent_to_sigma: Callable[[float], float] | None = None

    @classmethod
    def of(cls, steps: int, sigmas: Any = None, model: Any = None) -> Run:
        """The run of a sampler's sigmas (S + 1 falling numbers) and its model, or of a number of steps."""
        if sigmas is None:
            return cls(steps)
        if model is None:
            raise InputError("sigmas say where the steps lie on the model's own clock; connect the model too")
        levels = tuple(float(sigma) for sigma in sigmas)
        if len(levels) < 2:
            raise InputError("these sigmas hold no step; connect a scheduler's")
        return cls(len(levels) - 1, levels, model.get_model_object("model_sampling").percent_to_sigma)

    def percent_before(self, step: int) -> float:
        """A percent that lies after the step before and not after this one."""
        if step <= 0 or step >= self.steps:
            return 0.0 if step <= 0 else 1.0
        if self.sigmas is None or self.percent_to_sigma is None:
            return float(share(step, self.steps))
        high, low = self.sigmas[step - 1], self.sigmas[step]
        begin, end = 0.0, 1.0
        for _ in range(_BISECTIONS):
            middle = (begin + end) / 2
            begin, end = (
                (middle, end) if float(self.percent_to_sigma(middle)) > (high + low) / 2 else (begin, middle)
            )
        found = (begin + end) / 2
        if not low < float(self.percent_to_sigma(found)) < high:
            raise InputError(
                f"no percent separates steps {step} and {step + 1} of these sigmas; use fewer steps"
            )
        return found


def encode(clip: Any, text: str, run: Run, dialect: str = "native") -> tuple[list[Any], list[str]]:
    """Return the conditioning of a text, an entry per stretch of the run, and remarks in sentences."""
    prompt, remarks = read(text, run.steps, dialect)
    if run.sigmas is None and not prompt.is_plain:
        remarks.append(
            "without sigmas the steps are taken to lie evenly over the percents; connect sigmas and model"
        )
    if any(span.weight.is_signed for span in prompt.controls):
        remarks.append("weights below 0 go beyond the empty prompt, by ComfyUI's own rule")
    rows = texts_by_step(prompt, run.steps)
    ends = [first for _, first in rows[1:]] + [run.steps]
    conditioning: list[Any] = []
    for (words, first), end in zip(rows, ends, strict=True):
        begins, stops = run.percent_before(first), run.percent_before(end)
        if run.sigmas is None and end < run.steps:
            stops -= 0.001  # both ends belong to a range
        for tensor, options in clip.encode_from_tokens_scheduled(clip.tokenize(words)):
            conditioning.append([tensor, {**options, "start_percent": begins, "end_percent": stops}])
    return conditioning, remarks


def read(text: str, steps: int, dialect: str = "native") -> tuple[DFPrompt, list[str]]:
    """Return a prompt and what is to be said of it."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prompt = read_prompt(text, dialect=dialect, num_inference_steps=steps)
    plan = make_plan(prompt, steps)
    silent = [explain_silence(plan, span) for span in plan.never_active]
    return prompt, [*(str(warning.message) for warning in caught), *silent]


def describe(text: str, steps: int, dialect: str = "native") -> tuple[str, list[tuple[str, Sequence[float]]]]:
    """Return the table of a plan, and each span's words with its weight at every step."""
    prompt, remarks = read(text, steps, dialect)
    plan = make_plan(prompt, steps)
    rows = texts_by_step(prompt, steps)
    lasts = [first for _, first in rows[1:]] + [steps]
    lines = [f"{first + 1:>4}-{last:<4} {words}" for (words, first), last in zip(rows, lasts, strict=True)]
    tracks = [(track.span.text, [float(weight) for weight in track.weights]) for track in plan.tracks]
    return "\n".join([str(prompt), *lines, *remarks]), tracks
