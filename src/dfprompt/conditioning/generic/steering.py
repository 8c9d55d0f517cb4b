"""Steering any pipeline by what its denoisers hear: learned per text, replaced evaluation by evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from dfprompt.conditioning.call import UserCallback
from dfprompt.conditioning.generic.listening import (
    Heard,
    find_changes,
    find_denoisers,
    listen,
    watched_steps,
    with_callback,
)
from dfprompt.conditioning.generic.slots import (
    ABSENT,
    Path,
    keep,
    name_slot,
    replace_slots,
    same,
    spread,
    take_rows,
)
from dfprompt.conditioning.generic.texts import Prompts, Texts, Timetable, asked_steps, read_heard_schedule
from dfprompt.conditioning.generic.weights import HeardWeights, find_weighted
from dfprompt.conditioning.lora_words import LoraWords, read_strengths
from dfprompt.conditioning.ownership import OwnRun, RunHooks
from dfprompt.conditioning.schedule import accepts
from dfprompt.errors import GenerationError, UnsupportedPipelineError
from dfprompt.prompt.clocks import Clock

# How far the verified output may lie from the true one, relative to its largest value: accelerators
# may sum in another order when a call is repeated.
_TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-6}
_COARSE = 3e-2


def steer(
    pipe: Any,
    prompts: Prompts,
    call: Mapping[str, Any],
    *,
    clock: Clock = "steps",
    loras: frozenset[str] = frozenset(),
) -> Any:
    """Make the pipeline's own call such that every evaluation hears its own texts; return its output.

    At most one evaluation is made beside those of the run, and for each further distinct batch of
    texts only the calls before the last one of an evaluation. Raises UnsupportedPipelineError by
    name, before anything is drawn, where the text does not reach the denoisers through their
    arguments, or where those change with the step.
    """
    title = type(pipe).__name__
    if not find_denoisers(pipe) or getattr(pipe, "scheduler", None) is None:
        raise UnsupportedPipelineError(
            f"{title} has no denoiser that is asked step by step under a scheduler, so no word can have a "
            "range there; pass prompts without control"
        )
    table, first = _look(pipe, prompts, call, clock)
    family = find_weighted(kind.__name__ for kind in type(pipe).__mro__)
    table.report(title, weights=family is not None)
    weights = HeardWeights(pipe, family, table, call) if family is not None and table.weighs else None
    texts = table.distinct
    words = LoraWords(find_denoisers(pipe), read_strengths(table.plans["prompt"], loras))
    if len(texts) == 1 and weights is None and not loras:
        return pipe(**call, **prompts.arguments(texts[0]))
    others: dict[Texts, Heard] = {}
    for number, each in enumerate(texts[1:]):
        calls = len(others[texts[1]].calls) if number else None
        arguments = {**call, **prompts.arguments(each)}
        others[each] = listen(
            pipe,
            arguments,
            calls=calls,
            known=first.calls[0],
            weigh=None if weights is None else weights.put,
            loras=words,
        )
    return Steered(pipe, table, others, words, weights).run({**call, **prompts.arguments(texts[0])})


def _look(pipe: Any, prompts: Prompts, call: Mapping[str, Any], clock: Clock) -> tuple[Timetable, Heard]:
    """Return the timetable of the run that is about to be made and what its first call hears."""
    guess = prompts.first_texts(asked_steps(pipe, call))
    for _ in range(3):
        heard = listen(pipe, {**call, **prompts.arguments(guess)}, calls=1)
        if not heard.calls:
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} draws without calling its denoiser as a module, so nothing can be "
                "changed from step to step; pass prompts without control"
            )
        if not heard.timesteps:
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} asks a denoiser before its scheduler has any timesteps, as pipelines "
                "of several stages do; call dfprompt.run with the pipeline of each stage, one after the other"
            )
        schedule = read_heard_schedule(pipe, heard, call, clock)
        table = Timetable(schedule, prompts.plans(schedule))
        if table.texts[0] == guess:
            break
        guess = table.texts[0]
    return table, heard


@dataclass
class Role:
    """One of the denoiser calls that make up an evaluation.

    `values` are its slots with the run's first text, `text` those of them that carry text.
    """

    module: nn.Module
    number: int
    values: dict[Path, Any]
    text: set[Path]


class Steered:
    """A run whose denoisers hear, in place of the first text, that of the evaluation under way."""

    def __init__(
        self,
        pipe: Any,
        table: Timetable,
        others: Mapping[Texts, Heard],
        loras: LoraWords,
        weights: HeardWeights | None = None,
    ) -> None:
        self.pipe = pipe
        self.table = table
        self.others = others
        self.loras = loras
        self.weights = weights
        self.roles: list[Role] = []
        self.title = type(pipe).__name__
        self.evaluation = 0
        self.calls = 0
        self._checked = False
        # A run whose guidance ends keeps the prompt's rows, which most families put last.
        family = find_weighted(kind.__name__ for kind in type(pipe).__mro__)
        first = family is not None and family.order == "positive"
        self._halves = ("first", "last") if first else ("last", "first")
        self._swapped_by_user: set[str] = set()

    def run(self, call: dict[str, Any]) -> Any:
        """Make the pipeline's call and return what it returns."""
        denoisers = find_denoisers(self.pipe)
        with RunHooks(denoisers, OwnRun()) as hooks, self._counted(hooks, call) as counted:
            for module in denoisers:
                hooks.on_input(module, self._hear)
                hooks.on_output(module, self._verify)
            if self.weights is not None:
                self.weights.put(hooks, denoisers)
            with self.loras.acting(hooks):
                result = self.pipe(**counted)
        planned = self.table.schedule.evaluations
        if self.evaluation != planned and not getattr(self.pipe, "_interrupt", False):
            raise GenerationError(
                f"{self.title} made {self.evaluation} evaluations, but its schedule said {planned}, so words "
                "did not act when they should; pass num_inference_steps, and no other schedule"
            )
        return result

    @contextmanager
    def _counted(self, hooks: RunHooks, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the call's arguments such that the end of every evaluation is noticed."""

        def over() -> None:
            self._check_reach()
            self.evaluation += 1
            self.calls = 0
            hooks.begin(self.evaluation)

        if not accepts(self.pipe, "callback_on_step_end"):
            with watched_steps(self.pipe.scheduler, over):
                yield call
            return
        user = UserCallback(call.get("callback_on_step_end"), call.get("callback_on_step_end_tensor_inputs"))
        inputs = user.inputs if user.function is not None else ()

        def after(pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            with hooks.paused() if user.function is not None else nullcontext():
                given = dict(tensors)
                changed = (user.function(pipe, index, timestep, tensors) if user.function else None) or {}
            self._swapped_by_user |= {name for name in changed if changed[name] is not given.get(name)}
            over()
            return changed

        yield with_callback(self.pipe, call, after, inputs)

    def _hear(self, module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        number, self.calls = self.calls, self.calls + 1
        slots = spread(arguments, keywords)
        if self.evaluation == 0:
            self._learn(number, module, slots)
            return None
        if self.evaluation >= self.table.schedule.evaluations:
            raise GenerationError(
                f"{self.title} makes more than the {self.table.schedule.evaluations} evaluations of its "
                "schedule, so words would not act when they should; give it num_inference_steps alone"
            )
        heard = self.others.get(self.table.texts[self.evaluation])
        role, rows = self._find_role(number, module, slots)
        if heard is None or role is None:
            return None
        fresh = heard.calls[role.number].slots
        changes = {
            path: take_rows(fresh.get(path, ABSENT), rows[path]) if path in rows else fresh.get(path, ABSENT)
            for path in role.text
        }
        return replace_slots(arguments, keywords, changes)

    def _learn(self, number: int, module: nn.Module, slots: Mapping[Path, Any]) -> None:
        """Note which slots of a call of the first evaluation differ between this text and the others."""
        text: set[Path] = set()
        for heard in self.others.values():
            if number >= len(heard.calls) or heard.calls[number].module is not module:
                self._refuse("calls its denoisers differently with another text")
            text.update(find_changes(slots, heard.calls[number].slots))
        self.roles.append(Role(module, number, {path: keep(value) for path, value in slots.items()}, text))

    def _check_reach(self) -> None:
        """After the first evaluation: some slot must have carried the text; the others are forgotten."""
        if self.evaluation:
            return
        paths = {path for role in self.roles for path in role.text}
        if not paths and self._prompts_differ():
            self._refuse("hands its denoiser the same arguments whatever the text says")
        for role in self.roles:
            role.values = {path: role.values.get(path, ABSENT) for path in paths}

    def _prompts_differ(self) -> bool:
        return len({texts[0] for texts in self.table.distinct}) > 1

    def _verify(self, module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        """Compare the first call of all with the one in which another text's slots were replaced."""
        if self._checked or self.evaluation or not self.others:
            return
        self._checked = True
        expected = next(iter(self.others.values())).output
        if not _close(expected, output):
            self._refuse("lets its denoiser hear the text on other ways than its arguments")

    def _find_role(
        self, number: int, module: nn.Module, slots: Mapping[Path, Any]
    ) -> tuple[Role | None, dict[Path, slice]]:
        """Return which call of an evaluation this is, by what it hears of the first text, and its rows."""
        known = [role for role in self.roles if role.module is module] or self.roles
        known.sort(key=lambda role: role.number != number)
        for role in known:
            rows = _match(role, slots, self._halves)
            if rows is not None:
                return role, rows
        expected = known[0]
        if not expected.text:
            return None, {}
        if expected.module is not module:
            self._refuse(f"asks its {type(module).__name__} after the first step, with a text of its own")
        return self._prune(expected, slots), {}

    def _prune(self, role: Role, slots: Mapping[Path, Any]) -> Role:
        """Drop the slots that change with the step where they follow from what another module heard."""
        moving = {path for path in role.text if not same(role.values[path], slots.get(path, ABSENT))}
        follows = any(other.number < role.number and other.module is not role.module for other in self.roles)
        if not (follows and role.text - moving):
            names = ", ".join(name_slot(path) for path in sorted(moving, key=str))
            if texts := sorted(self._swapped_by_user - {"latents"}):
                raise GenerationError(
                    f"the step callback changed {', '.join(texts)}, and {self.title} no longer hears the "
                    "text that each step's own words replace; change the latents alone, or leave rows out"
                )
            self._refuse(f"mixes the text with what changes from step to step ({names})")
        role.text -= moving
        role.values = {path: value for path, value in role.values.items() if path not in moving}
        return role

    def _refuse(self, why: str) -> None:
        raise UnsupportedPipelineError(
            f"{self.title} {why}, so dfprompt cannot give each step its own words; nothing was drawn. Use a "
            "prompt without control, or a pipeline that `dfprompt capabilities` lists"
        )


def _match(role: Role, slots: Mapping[Path, Any], halves: Sequence[str]) -> dict[Path, slice] | None:
    """Return which slots hold some of the role's rows only; None where the call is another one.

    `halves` says where to look first: where both sides' texts are the same, either would match.
    """
    found: dict[Path, slice] = {}
    for path, value in role.values.items():
        running = slots.get(path, ABSENT)
        if same(value, running):
            continue
        count = len(running) if isinstance(running, torch.Tensor | list) and len(running) else 0
        where = {"last": slice(-count, None), "first": slice(0, count)}
        some = [where[half] for half in halves if count]
        matching = [rows for rows in some if same(take_rows(value, rows), running)]
        if not matching:
            return None
        found[path] = matching[0]
    return found


def _close(expected: Any, output: Any) -> bool:
    """Whether two outputs of a denoiser agree as far as the machine repeats itself."""
    one, other = _tensors(expected), _tensors(output)
    return len(one) == len(other) and all(map(_close_tensors, one, other))


def _tensors(output: Any) -> list[torch.Tensor]:
    if isinstance(output, torch.Tensor):
        return [output]
    if isinstance(output, Mapping):
        output = list(output.values())
    if not isinstance(output, list | tuple):
        return []
    return [tensor for each in output for tensor in _tensors(each)]


def _close_tensors(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if torch.equal(one, other):
        return True
    scale = other.abs().max().float()
    return bool((one - other).abs().max().float() <= _TOLERANCE.get(one.dtype, _COARSE) * scale)
