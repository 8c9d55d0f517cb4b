"""A DF-Prompt for ComfyUI's core nodes: each text with the percents between which it runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from dfprompt.errors import InputError
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.dialects.comfyui_clock import Sampling
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.exact import MAX_PLACES, format_decimal, round_places, share
from dfprompt.prompt.plan import PlannedStep, make_plan

_ESCAPED = str.maketrans({"(": "\\(", ")": "\\)"})


def export_comfyui_nodes(
    prompt: DFPrompt,
    num_inference_steps: int,
    remarks: Remarks | None = None,
    *,
    clock: Clock = "steps",
    scheduler: str | None = None,
) -> list[tuple[str, float, float]]:
    """Return (text, start_percent, end_percent), one per CLIP Text Encode and ConditioningSetTimestepRange.

    Weights are written as ComfyUI's emphasis. Percents count on the uniform clock; the core's ranges include
    both ends, so each ends just below the next one's start. With a `scheduler` of ComfyUI's each switch falls
    between two of its steps; `clock` says what the prompt's time left counts.

    >>> from dfprompt.prompt.parser import parse_prompt
    >>> export_comfyui_nodes(parse_prompt("a cat, [snow:late:1.5]"), 10)
    [('a cat', 0.0, 0.499), ('a cat, (snow:1.5)', 0.5, 1.0)]
    """
    remarks = remarks if remarks is not None else Remarks()
    run = Sampling.of(num_inference_steps, clock, scheduler)
    if clock == "timestep" and scheduler is None:
        raise InputError("steps are placed in sampling time by a scheduler: --scheduler karras")
    rows = texts_by_step(prompt, num_inference_steps, **run.on_the_prompts_clock)
    starts = [first for _, first in rows]
    begins = [_begin(first, num_inference_steps, run) for first in starts]
    gap = Decimal("0.001") if run.times is None else Decimal(0)
    ends = [*(begin - gap for begin in begins[1:]), Decimal(1)]
    if len(starts) > 1 and run.times is None:
        remarks.assume(
            "percents count steps (the uniform clock); under shifted schedules ComfyUI switches elsewhere"
        )
    return [
        (text, float(begin), float(end)) for (text, _), begin, end in zip(rows, begins, ends, strict=True)
    ]


def texts_by_step(prompt: DFPrompt, num_inference_steps: int, **timing: Any) -> list[tuple[str, int]]:
    """Return each text that runs, with ComfyUI's emphasis for its weights, and the first step it runs at.

    `timing` goes to `make_plan`.

    >>> from dfprompt.prompt.parser import parse_prompt
    >>> texts_by_step(parse_prompt("a cat, [snow:late:1.5]"), 10)
    [('a cat', 0), ('a cat, (snow:1.5)', 5)]
    """
    texts = [_text(step) for step in make_plan(prompt, num_inference_steps, **timing).steps]
    return [(text, at) for at, text in enumerate(texts) if at == 0 or text != texts[at - 1]]


def _begin(border: int, steps: int, run: Sampling) -> Decimal:
    """The percent from which a step on runs."""
    if border == 0 or run.times is None:
        return share(border, steps)
    middle = run.between(border, MAX_PLACES) or run.times[border]
    return Decimal(middle.numerator) / Decimal(middle.denominator)


def _text(step: PlannedStep) -> str:
    out, at = [], 0
    for part in step.weights:
        out.append(step.text[at : part.start].translate(_ESCAPED))
        weight = format_decimal(
            round_places(Decimal(part.weight.numerator) / Decimal(part.weight.denominator))
        )
        out.append(f"({part.text.translate(_ESCAPED)}:{weight})")
        at = part.end
    return "".join([*out, step.text[at:].translate(_ESCAPED)])
