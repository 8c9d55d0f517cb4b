"""Tree to text: the canonical notation, and words for people."""

from __future__ import annotations

from dfprompt.prompt.ast import DFPrompt, Span
from dfprompt.prompt.plan import Plan, Track


def format_prompt(prompt: DFPrompt) -> str:
    """Return the text form, which parses back to an equal prompt; the same as `str(prompt)`.

    Ranges are written early, late or full where exact, numbers with arrows otherwise.

    >>> from dfprompt.prompt.ast import DFPrompt, Span
    >>> format_prompt(DFPrompt(["a cat, ", Span("film grain", "late")]))
    'a cat, [film grain:late]'
    """
    return str(prompt)


def describe_steps(steps: tuple[int, ...], total: int) -> str:
    """Return steps counted from 1, `steps 6-10 of 10`.

    >>> describe_steps((5, 6, 7), 10), describe_steps((0,), 4), describe_steps((), 4)
    ('steps 6-8 of 10', 'step 1 of 4', 'no step of 4')
    """
    if not steps:
        return f"no step of {total}"
    first, last = steps[0] + 1, steps[-1] + 1
    return f"step {first} of {total}" if first == last else f"steps {first}-{last} of {total}"


def describe_track(plan: Plan, track: Track) -> str:
    """Return when a span acts in words and in steps, `late half: steps 6-10 of 10`."""
    steps = describe_steps(plan.steps_of(track), plan.num_inference_steps)
    return f"{track.span.effect_range.words}: {steps}"


def explain_silence(plan: Plan, span: Span) -> str:
    """Return why a span of `plan.never_active` acts at no step, and what to do.

    >>> from dfprompt.prompt import make_plan, parse_prompt
    >>> plan = make_plan(parse_prompt("[x:0.05->0]"), 10)
    >>> explain_silence(plan, plan.never_active[0])
    '[x:0.05->0] acts at none of the 10 steps; widen its range or use more steps'
    """
    if not span.weight.first and not span.weight.last:
        return f"{span} has weight 0 and acts at no step"
    ran = len({planned.step for planned in plan.steps})  # some samplers evaluate a step more than once
    steps = f"none of the {ran} steps"
    if ran < plan.num_inference_steps:
        return f"{span} acts at {steps} that image-to-image runs; widen its range or raise the strength"
    return f"{span} acts at {steps}; widen its range or use more steps"
