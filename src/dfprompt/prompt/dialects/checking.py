"""What was written for another tool, read back by that tool's rules: every difference is said."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from dfprompt.errors import ConversionError, ParseError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.dialects.conversion import Remarks
from dfprompt.prompt.dialects.overlay import TooMuchWorkError
from dfprompt.prompt.layout import SEPARATORS
from dfprompt.prompt.plan import PlannedStep, make_plan

Read = Callable[[str, int | None, Remarks], DFPrompt]
_STEPS = 20  # of a run to compare over where none is named
_STEPS_CLOCK: Mapping[str, Any] = {}
_MOST_CHARACTERS = 400_000


def check_written(
    prompt: DFPrompt,
    said: Sequence[str | Span],
    text: str,
    read: Read,
    steps: int | None,
    tool: str,
    remarks: Remarks,
    *,
    timing: Mapping[str, Any] = _STEPS_CLOCK,
    their_timing: Mapping[str, Any] = _STEPS_CLOCK,
) -> None:
    """Note a loss where `read` does not find in `text` what the prompt says, spaces and separators aside.

    `said` is the prompt as it was written, on the tool's clock: where something is lost, which has a name
    already, the text is held to that. `timing` and `their_timing` go to `make_plan`: what the ranges of the
    prompt, and those read, count.
    """
    if remarks.lost:
        prompt, timing = DFPrompt(said), their_timing
    try:
        back = read(text, steps, Remarks())
    except TooMuchWorkError:
        remarks.assume(f"this text is too long to be read back by {tool}'s rules")
        return
    except ConversionError as error:
        raise ConversionError(f"{tool} has no words for this prompt: {error}") from error
    except ParseError as error:
        raise ConversionError(f"{tool} has no words for this prompt: {error.problem}") from error
    ours = make_plan(prompt, steps or _STEPS, **timing).steps
    pairs = zip(ours, make_plan(back, steps or _STEPS, **their_timing).steps, strict=True)
    different = dict.fromkeys((_heard(one), _heard(other)) for one, other in pairs)
    if sum(len(one[0]) for one, _ in different) > _MOST_CHARACTERS:
        remarks.assume(f"this text is too long to be read back by {tool}'s rules")
        return
    for one, other in different:
        wanted, found = _characters(*one), _characters(*other)
        if wanted != found:
            place = next(at for at, (x, y) in enumerate(zip_longest(wanted, found)) if x != y)
            context = "".join(letter for letter, _ in wanted[max(0, place - 8) : place + 12])
            remarks.lose(f"{tool} reads this otherwise around {quote(context)}")
            return


Heard = tuple[str, tuple[tuple[int, int, float], ...]]


def _heard(step: PlannedStep) -> Heard:
    return step.text, tuple((part.start, part.end, float(part.weight)) for part in step.weights)


def _characters(text: str, parts: tuple[tuple[int, int, float], ...]) -> list[tuple[str, float]]:
    """Every letter of a step's text with its weight."""
    weights = [1.0] * len(text)
    for start, end, weight in parts:
        weights[start:end] = [round(weight, 5)] * (end - start)
    return [
        (letter, weight)
        for letter, weight in zip(text, weights, strict=True)
        if not letter.isspace() and letter not in SEPARATORS
    ]
