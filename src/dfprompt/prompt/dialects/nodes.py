"""A DF-Prompt for ComfyUI's core nodes: each text with the percents between which it runs."""

from __future__ import annotations

from decimal import Decimal

from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.stretches import share
from dfprompt.prompt.exact import format_decimal, round_places
from dfprompt.prompt.plan import PlannedStep, make_plan

_ESCAPED = str.maketrans({"(": "\\(", ")": "\\)"})


def export_comfyui_nodes(
    prompt: DFPrompt, num_inference_steps: int, remarks: Remarks | None = None
) -> list[tuple[str, float, float]]:
    """Return (text, start_percent, end_percent), one per CLIP Text Encode and ConditioningSetTimestepRange.

    Weights are written as ComfyUI's emphasis. Percents count on the uniform clock; the core's ranges include
    both ends, so each ends just below the next one's start.

    >>> from dfprompt.prompt.parser import parse_prompt
    >>> export_comfyui_nodes(parse_prompt("a cat, [snow:late:1.5]"), 10)
    [('a cat', 0.0, 0.499), ('a cat, (snow:1.5)', 0.5, 1.0)]
    """
    remarks = remarks if remarks is not None else Remarks()
    texts = [_text(step) for step in make_plan(prompt, num_inference_steps).steps]
    starts = [i for i, text in enumerate(texts) if i == 0 or text != texts[i - 1]]
    rows = []
    for number, first in enumerate(starts):
        last = number + 1 == len(starts)
        begin = share(first, num_inference_steps)
        end = Decimal(1) if last else share(starts[number + 1], num_inference_steps) - Decimal("0.001")
        rows.append((texts[first], float(begin), float(end)))
    if len(rows) > 1:
        remarks.assume(
            "percents count steps (the uniform clock); under shifted schedules ComfyUI switches elsewhere"
        )
    return rows


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
