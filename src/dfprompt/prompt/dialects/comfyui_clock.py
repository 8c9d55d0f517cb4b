"""Where the steps of ComfyUI's schedulers lie on the clock that its percents count.

A percent of ComfyUI is a share of *sampling time*, 0 at the last of the 1,000 noise levels a model was
trained on and 1 at the first: steps are evenly spread over it under `sgm_uniform` alone.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_left
from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

from dfprompt.errors import InputError
from dfprompt.excerpt import quote
from dfprompt.prompt.clocks import CLOCKS, Clock, check_steps

_LEVELS = 1000
_LAST = _LEVELS - 1
_BETAS = (0.00085, 0.012)  # Stable Diffusion's, linear in their square roots
_RHO = 7  # of Karras et al. (2022), equation 5


def sampling_times(scheduler: str, num_inference_steps: int) -> tuple[Fraction, ...]:
    """Return the share of sampling time that is done at each step, S rising numbers from 0.

    `simple`, `normal` and `sgm_uniform` are alike for every model; `karras` and `exponential` space the noise
    levels of Stable Diffusion 1, 2 and XL. Raises InputError for another name.

    >>> [float(time) for time in sampling_times("sgm_uniform", 4)]
    [0.0, 0.25, 0.5, 0.75]
    >>> [round(float(time), 2) for time in sampling_times("karras", 4)]
    [0.0, 0.31, 0.85, 1.0]
    """
    steps = check_steps(num_inference_steps)
    if scheduler not in _SCHEDULERS:
        close = difflib.get_close_matches(str(scheduler), _SCHEDULERS, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(
            f"{quote(scheduler)} is no scheduler of ComfyUI whose steps are known here; {hint}"
            f"they are {', '.join(_SCHEDULERS)}"
        )
    return tuple(Fraction(time).limit_denominator(10**6) for time in _SCHEDULERS[scheduler](steps))


def _evenly(first: float, last: float, count: int) -> list[float]:
    return [first + (last - first) * at / max(1, count - 1) for at in range(count)]


def _karras(steps: int) -> list[float]:
    highest, lowest = (math.exp(_log_sigmas()[at] / _RHO) for at in (-1, 0))
    return [_done(_RHO * math.log(root)) for root in _evenly(highest, lowest, steps)]


@cache
def _log_sigmas() -> tuple[float, ...]:
    """The logarithms of the noise levels, rising."""
    kept, found = 1.0, []
    for root in _evenly(math.sqrt(_BETAS[0]), math.sqrt(_BETAS[1]), _LEVELS):
        kept *= 1 - root * root
        found.append(math.log((1 - kept) / kept) / 2)
    return tuple(found)


def _done(log_sigma: float) -> float:
    """The share done at a noise level, between two levels of the table linear in the logarithm."""
    table = _log_sigmas()
    above = min(max(bisect_left(table, log_sigma), 1), _LAST)
    low, high = table[above - 1], table[above]
    return min(1.0, max(0.0, 1 - (above - 1 + (log_sigma - low) / (high - low)) / _LAST))


_SCHEDULERS: dict[str, Callable[[int], list[float]]] = {
    "simple": lambda steps: [int(step * _LEVELS / steps) / _LAST for step in range(steps)],
    "normal": lambda steps: _evenly(0, 1, steps),
    "sgm_uniform": lambda steps: [step / steps for step in range(steps)],
    "karras": _karras,
    "exponential": lambda steps: list(map(_done, _evenly(_log_sigmas()[-1], _log_sigmas()[0], steps))),
}
SCHEDULERS = tuple(_SCHEDULERS)


class Sampling(NamedTuple):
    """The run a text of ComfyUI is for: its steps, what time left counts, and where its steps lie.

    `times` are the shares of sampling time done at each step, None where the scheduler is not known.
    """

    steps: int | None = None
    clock: Clock = "steps"
    times: tuple[Fraction, ...] | None = None

    @classmethod
    def of(cls, steps: int | None, clock: Clock = "steps", scheduler: str | None = None) -> Sampling:
        """Return the run that a scheduler of ComfyUI makes; raises InputError where the steps are missing."""
        if clock not in CLOCKS:
            raise InputError(f"the clock must be one of {', '.join(CLOCKS)}, not {quote(clock)}")
        if scheduler is None:
            return cls(steps if clock == "steps" else None, clock)
        if steps is None:
            raise InputError("a scheduler places steps, and their number is not given: --steps 20")
        return cls(steps, clock, sampling_times(scheduler, steps))

    @property
    def on_its_clock(self) -> dict[str, Any]:
        """The arguments of `make_plan` for ranges that count sampling time."""
        if self.times is None:
            return {}
        return {"clock": "timestep", "timesteps": [_LEVELS * (1 - time) for time in self.times]}

    @property
    def on_the_prompts_clock(self) -> dict[str, Any]:
        """The arguments of `make_plan` for the ranges of the DF-Prompt."""
        return self.on_its_clock if self.clock == "timestep" else {}

    def between(self, border: int, places: int) -> Fraction | None:
        """Return the number of so many places nearest the middle between two steps; None where none is.

        >>> Sampling.of(4, scheduler="karras").between(2, 2)
        Fraction(29, 50)
        """
        assert self.times is not None
        low, high = self.times[border - 1], self.times[border]
        nearest = round((low + high) / 2, places)
        return nearest if low < nearest < high else None

    def border_at(self, share_done: Fraction) -> int:
        """Return the first step that is not before a share of sampling time; at the end their number."""
        assert self.times is not None
        return sum(time < share_done for time in self.times) if share_done < 1 else len(self.times)
