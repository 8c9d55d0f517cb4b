"""Which texts a run of any pipeline needs at which evaluation, laid out on the schedule it really has."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from dfprompt.conditioning.generic.listening import Heard
from dfprompt.conditioning.schedule import Schedule, accepts, call_default, is_share, step_table
from dfprompt.errors import DFPromptWarning, UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.formatter import explain_silence
from dfprompt.prompt.plan import Plan, make_plan

# The text of every row by argument name: what one call of the pipeline is given.
Texts = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True)
class Prompts:
    """The DF-Prompts of a call by argument name (`prompt`, `negative_prompt`, `prompt_2` ...).

    `single` names the arguments that were one prompt and not a list of them.
    """

    rows: Mapping[str, Sequence[DFPrompt]]
    single: frozenset[str]

    @property
    def is_plain(self) -> bool:
        """Whether no prompt has any control."""
        return all(prompt.is_plain for row in self.rows.values() for prompt in row)

    @property
    def plain_texts(self) -> Texts:
        """The texts without any control."""
        return tuple((name, tuple(each.plain_text for each in row)) for name, row in self.rows.items())

    def first_texts(self, steps: int | None) -> Texts:
        """Return the texts of the first of this many steps; the plain texts where the number is open."""
        if steps is None or steps < 1:
            return self.plain_texts
        return tuple(
            (name, tuple(make_plan(each, steps).steps[0].text for each in row))
            for name, row in self.rows.items()
        )

    def arguments(self, texts: Texts) -> dict[str, Any]:
        """Return texts as the stock call takes them: a string where one was given, else a list."""
        return {name: row[0] if name in self.single else list(row) for name, row in texts}

    def plans(self, schedule: Schedule) -> dict[str, list[Plan]]:
        """Lay every prompt out over the evaluations that are made."""
        return {name: [_plan(prompt, schedule) for prompt in row] for name, row in self.rows.items()}


@dataclass(frozen=True)
class Timetable:
    """The texts of every evaluation of a run, and the schedule they were laid out on."""

    schedule: Schedule
    plans: Mapping[str, Sequence[Plan]]

    @cached_property
    def texts(self) -> list[Texts]:
        """The texts of each evaluation that is made, in order."""
        return [
            tuple((name, tuple(plan.steps[k].text for plan in row)) for name, row in self.plans.items())
            for k in range(self.schedule.evaluations)
        ]

    @cached_property
    def distinct(self) -> list[Texts]:
        """Every batch of texts that is heard, in the order of the run."""
        return list(dict.fromkeys(self.texts))

    @property
    def weighs(self) -> bool:
        """Whether any span has a weight other than 0 and 1 at any evaluation."""
        return any(step.weights for row in self.plans.values() for plan in row for step in plan.steps)

    def report(self, title: str, *, weights: bool = False) -> None:
        """Refuse weights where nothing can apply them, and name spans that never act."""
        for plan in (plan for row in self.plans.values() for plan in row):
            for step in () if weights else plan.steps:
                for part in step.weights:
                    raise UnsupportedPipelineError(
                        f"{title} is steered by what its denoiser hears, which carries ranges but no "
                        f"weights: {quote(part.text)} has weight {float(part.weight):g}; drop the weight "
                        "and use its range, or say it in other words"
                    )
            # Words that never act here may act in the other part of a shared run.
            for span in () if self.schedule.shared else plan.never_active:
                if span.weight.first or span.weight.last:
                    warnings.warn(explain_silence(plan, span), DFPromptWarning, stacklevel=5)


def _plan(prompt: DFPrompt, schedule: Schedule) -> Plan:
    return make_plan(
        prompt,
        schedule.num_inference_steps,
        clock=schedule.clock,
        timesteps=schedule.timesteps,
        num_train_timesteps=schedule.num_train_timesteps,
        step_of_evaluation=schedule.steps,
        first_step=schedule.begin,
    )


def asked_steps(pipe: Any, call: Mapping[str, Any]) -> int | None:
    """Return the number of steps a call names; None where it gives a schedule of its own, or none plainly."""
    if call.get("timesteps") is not None or call.get("sigmas") is not None:
        return None
    steps = call.get("num_inference_steps", call_default(pipe, "num_inference_steps"))
    return operator.index(steps) if hasattr(steps, "__index__") else None


def read_heard_schedule(pipe: Any, heard: Heard, call: Mapping[str, Any], clock: Clock) -> Schedule:
    """Return the schedule a pipeline had set for this call when it was listened to."""
    steps, count = asked_steps(pipe, call), len(heard.timesteps)
    made = heard.evaluations
    if made is None or not 0 < made <= count:
        made = count - (heard.begin or 0)
    begin = _begin(pipe, heard, count, made)
    order = int(getattr(heard.scheduler, "order", 1))
    cut = is_share(call.get("denoising_end"))
    # Some schedulers end on a timestep that is not run. A run cut at either end, or of two evaluations per
    # step, may happen to make as many evaluations as there are steps.
    if made == steps and begin == 0 and not cut and (order == 1 or made == count - 1):
        table, count = tuple(range(made)), made
    else:
        table = _table(heard.scheduler, steps or -(-count // order), count)
    train = int(heard.scheduler.config.get("num_train_timesteps", 1000))
    times = tuple(min(max(each, 0.0), float(train)) for each in heard.timesteps[:count])
    return Schedule(
        max(table) + 1,
        table,
        begin,
        clock,
        times if clock == "timestep" else None,
        train,
        end=begin + made if cut else None,
        shared=cut or is_share(call.get("denoising_start")),
    )


def _begin(pipe: Any, heard: Heard, count: int, made: int) -> int:
    if heard.begin is not None and heard.begin + made <= count:
        return int(heard.begin)
    return count - made if accepts(pipe, "strength") else 0


def _table(scheduler: Any, steps: int, count: int) -> tuple[int, ...]:
    try:
        return tuple(step_table(scheduler, steps, count))
    except UnsupportedPipelineError:
        return tuple(range(count))  # a schedule of the pipeline's own: every evaluation is a step
