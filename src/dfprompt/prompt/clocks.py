"""Which denoiser evaluations a run makes, and how much time is left at each."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Literal, NamedTuple

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote
from dfprompt.prompt.exact import MAX_PLACES

Clock = Literal["steps", "timestep"]
CLOCKS: tuple[Clock, ...] = ("steps", "timestep")
MAX_STEPS = 10_000


class Evaluation(NamedTuple):
    """One call of the denoiser: the step it belongs to (0..N-1) and the time left (0..1)."""

    step: int
    time_left: Fraction


def make_evaluations(
    num_inference_steps: int,
    *,
    clock: Clock = "steps",
    timesteps: Sequence[float] | None = None,
    num_train_timesteps: int = 1000,
    order: int = 1,
    step_of_evaluation: Sequence[int] | None = None,
) -> tuple[Evaluation, ...]:
    """Return every evaluation of a whole run of N steps, before any image-to-image cut.

    Clock `steps`: time left is 1 - i/N at step i. Clock `timestep`: it is read off the scheduler's
    timesteps, as a share of training time (sigma for flow models), to six places. Evaluation k
    belongs to step k // order, or to `step_of_evaluation[k]` for samplers with a table of their own.
    Raises PromptValueError for a count of steps out of range, an unknown clock, and timesteps that are
    missing or fit no table.

    >>> [str(e.time_left) for e in make_evaluations(4)]
    ['1', '3/4', '1/2', '1/4']
    """
    steps = check_steps(num_inference_steps)
    if clock not in CLOCKS:
        raise PromptValueError(f"the clock must be one of {', '.join(CLOCKS)}, not {quote(clock)}")
    if clock == "timestep" and timesteps is None:
        raise PromptValueError("the clock timestep needs the scheduler's timesteps; pass them, or a pipeline")
    table = _step_table(steps, timesteps, order, step_of_evaluation)
    if timesteps is None or clock == "steps":
        return tuple(Evaluation(step, Fraction(steps - step, steps)) for step in table)
    left = [_time_left(timestep, num_train_timesteps) for timestep in timesteps]
    return tuple(map(Evaluation, table, left))


def first_step_run(num_inference_steps: int, strength: float) -> int:
    """Return the first step image-to-image runs at this strength, as Stable Diffusion pipelines cut it.

    >>> first_step_run(10, 0.5)
    5
    """
    if isinstance(strength, bool) or not isinstance(strength, int | float | Decimal | Fraction):
        raise PromptValueError(f"the strength must be a number, not {quote(strength)}")
    if not 0 < strength <= 1:
        raise PromptValueError(f"the strength must lie above 0 and up to 1, not {quote(strength)}")
    # Float arithmetic on purpose: diffusers computes int(steps * strength), and 100 * 0.29 is 28 there.
    run = min(int(num_inference_steps * float(strength)), num_inference_steps)
    if run < 1:
        raise PromptValueError(
            f"strength {strength} of {num_inference_steps} steps leaves no step to run; "
            f"use at least {math.ceil(100 / num_inference_steps) / 100}"
        )
    return num_inference_steps - run


def check_steps(num_inference_steps: int) -> int:
    """Return the number of steps if it is one; raises PromptValueError."""
    # numpy's integers are none of Python's, but say which one they are.
    if isinstance(num_inference_steps, bool) or not hasattr(num_inference_steps, "__index__"):
        raise PromptValueError(f"the number of steps must be an integer, not {quote(num_inference_steps)}")
    if not 1 <= num_inference_steps <= MAX_STEPS:
        raise PromptValueError(
            f"the number of steps must lie between 1 and {MAX_STEPS}, not {quote(num_inference_steps)}"
        )
    return operator.index(num_inference_steps)


def _step_table(
    steps: int, timesteps: Sequence[float] | None, order: int, given: Sequence[int] | None
) -> list[int]:
    if order not in (1, 2, 3):
        raise PromptValueError(f"the order of a sampler must be 1, 2 or 3, not {quote(order)}")
    count = steps * order - (order - 1) if timesteps is None else len(timesteps)
    if given is not None:
        table = list(given)
        if timesteps is not None and len(table) != count:
            raise PromptValueError(f"{len(table)} step numbers for {count} timesteps; give one for each")
    else:
        table = [evaluation // order for evaluation in range(count)]
    falls = any(later < earlier for earlier, later in itertools.pairwise(table))
    if not table or falls or table[0] < 0 or table[-1] >= steps:
        raise PromptValueError(
            f"{len(table)} evaluations do not fit {steps} steps of a sampler of order {order}; "
            "pass step_of_evaluation, rising numbers below the number of steps"
        )
    return table


def _time_left(timestep: float, num_train_timesteps: int) -> Fraction:
    if isinstance(timestep, bool) or not isinstance(timestep, int | float | Decimal | Fraction):
        raise PromptValueError(f"a timestep must be a number, not {quote(timestep)}")
    if not math.isfinite(timestep) or not 0 <= timestep <= num_train_timesteps:
        raise PromptValueError(
            f"a timestep must lie between 0 and the scheduler's {num_train_timesteps}, not {quote(timestep)}"
        )
    # Schedulers compute in float32; six places are the language's own resolution.
    return round(Fraction(timestep) / num_train_timesteps, MAX_PLACES)
