"""What a pipeline's denoisers hear of a text: its own call, ended as soon as enough was heard."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import nn

from dfprompt.conditioning.generic.slots import ABSENT, Path, keep, replace_slots, same, spread
from dfprompt.conditioning.lora_words import LoraWords
from dfprompt.conditioning.ownership import Arguments, OwnRun, RunHooks
from dfprompt.conditioning.schedule import accepts

# What a denoiser takes besides its sample: where in time it is, or at least the text.
_TIME_NAMES = frozenset({"timestep", "timesteps", "t", "r", "timestep_ratio", "timestep_r", "sigma"})
_TEXT_NAMES = frozenset({"encoder_hidden_states", "pooled_text_emb"})


class EnoughHeardError(Exception):
    """Ends a call of the pipeline that was made to listen."""


@dataclass
class HeardCall:
    """One call of a denoiser: which module, and every slot of its arguments."""

    module: nn.Module
    slots: dict[Path, Any]


@dataclass
class Heard:
    """What the denoisers heard in a call that was ended early, and the schedule it was about to run.

    `output` is that of the first call. `timesteps` are the scheduler's, `begin` the number of the
    first one that is run and `evaluations` how many are, where the pipeline says so; `scheduler` is
    the copy that was set.
    """

    calls: list[HeardCall] = field(default_factory=list)
    output: Any = None
    timesteps: tuple[float, ...] = ()
    begin: int | None = None
    evaluations: int | None = None
    scheduler: Any = None

    def read_schedule(self, pipe: Any) -> None:
        """Read the schedule off the pipeline, if it has set one for this call."""
        self.scheduler = scheduler = pipe.scheduler
        timesteps = getattr(scheduler, "timesteps", None)
        if timesteps is None or timesteps is getattr(scheduler, "_untouched", None):
            return
        self.timesteps = tuple(float(each) for each in timesteps)
        self.begin = getattr(scheduler, "begin_index", None)
        self.evaluations = vars(pipe).get("_num_timesteps")
        # A time that counts from 0 to 1 may look like one of the last timesteps: only these runs begin late.
        if self.begin is None and self.calls and accepts(pipe, "strength"):
            tail = len(self.timesteps) - (self.evaluations or 0)
            self.begin = _find_time(self.calls[0].slots, self.timesteps, tail)


def find_denoisers(pipe: Any) -> list[nn.Module]:
    """Return the parts of a pipeline that are asked once or more per step: denoisers and ControlNets."""
    parts = [part for part in pipe.components.values() if isinstance(part, nn.Module)]
    timed = [part for part in parts if _takes(part, _TIME_NAMES)]
    return timed or [part for part in parts if _takes(part, _TEXT_NAMES)]


def _takes(part: nn.Module, names: frozenset[str]) -> bool:
    plain = getattr(part, "_orig_mod", part)  # a compiled module's own signature says nothing
    if any(kind.__module__.startswith("transformers.") for kind in type(plain).__mro__):
        return False  # an encoder may take encoder_hidden_states too
    return not names.isdisjoint(inspect.signature(type(plain).forward).parameters)


def listen(
    pipe: Any,
    call: Mapping[str, Any],
    *,
    calls: int | None = None,
    known: HeardCall | None = None,
    weigh: Callable[[RunHooks, list[nn.Module]], None] | None = None,
    loras: LoraWords | None = None,
) -> Heard:
    """Make the pipeline's own call and end it: before denoiser call number `calls`, or after one evaluation.

    The pipeline, its scheduler, the generators and torch's random numbers are afterwards as they
    were. `known` holds what the first call hears of another text: its slots are put in place of
    this text's, so that everything that follows from them is the other text's too. `weigh` puts the
    hooks for that text's weights on, `loras` act as in its first step.
    """
    denoisers = find_denoisers(pipe)
    heard = Heard()

    def note(module: nn.Module, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> Arguments | None:
        slots = spread(arguments, keywords)
        heard.calls.append(HeardCall(module, {path: keep(value) for path, value in slots.items()}))
        if len(heard.calls) == calls:
            raise EnoughHeardError
        if known is None or len(heard.calls) > 1:
            return None
        return replace_slots(arguments, keywords, find_changes(slots, known.slots))

    def note_output(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
        if len(heard.calls) == 1:
            heard.output = keep(output)  # a ControlNet's list is emptied by its denoiser

    with undisturbed(pipe, call):
        with (
            RunHooks(denoisers, OwnRun()) as hooks,
            contextlib.suppress(EnoughHeardError),
            ending_at_first_step(pipe, dict(call)) as ended,
        ):
            for module in denoisers:
                hooks.on_input(module, note)
                hooks.on_output(module, note_output)
            if weigh is not None:
                weigh(hooks, denoisers)
            with loras.acting(hooks) if loras is not None else contextlib.nullcontext():
                pipe(**ended)
        heard.read_schedule(pipe)
    return heard


def _find_time(slots: Mapping[Path, Any], timesteps: tuple[float, ...], tail: int) -> int | None:
    """Return which of the timesteps a denoiser call is at, None where it does not say so plainly.

    Of equal ones (PNDM repeats a timestep) it is that from which the run has its length, else the first.
    """
    for path, value in slots.items():
        if path[0] in _TIME_NAMES or path == (1,):
            number = value.flatten()[:1].tolist() if isinstance(value, torch.Tensor) else [value]
            if number and number[0] in timesteps:
                return tail if number[0] in timesteps[tail : tail + 1] else timesteps.index(number[0])
    return None


def find_changes(slots: Mapping[Path, Any], others: Mapping[Path, Any]) -> dict[Path, Any]:
    """Return the slots of `others` whose values are not those of `slots`."""
    paths = dict.fromkeys([*slots, *others])
    return {
        path: others.get(path, ABSENT)
        for path in paths
        if not same(slots.get(path, ABSENT), others.get(path, ABSENT))
    }


@contextmanager
def ending_at_first_step(pipe: Any, call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the call's arguments such that it ends once the first evaluation is over."""

    def end(*_: Any) -> Any:
        raise EnoughHeardError

    if accepts(pipe, "callback_on_step_end"):
        yield with_callback(pipe, call, end, ())
        return
    call.pop("callback", None)
    with watched_steps(pipe.scheduler, end):
        yield call


def with_callback(
    pipe: Any, call: Mapping[str, Any], callback: Callable[..., Any], tensor_inputs: tuple[str, ...]
) -> dict[str, Any]:
    """Return the call's arguments with another step callback."""
    values = {**call, "callback_on_step_end": callback}
    values.pop("callback_on_step_end_tensor_inputs", None)
    if accepts(pipe, "callback_on_step_end_tensor_inputs"):
        values["callback_on_step_end_tensor_inputs"] = list(tensor_inputs)
    return values


@contextmanager
def watched_steps(scheduler: Any, stepping: Callable[[], Any]) -> Iterator[None]:
    """Call `stepping` before each step this very scheduler makes, for pipelines that call nobody back.

    Its class is exchanged for a subclass while the block lasts, so that copies made of it work by
    themselves.
    """
    kind = type(scheduler)

    @functools.wraps(kind.step)
    def step(self: Any, *arguments: Any, **keywords: Any) -> Any:
        if self is scheduler:
            stepping()
        return kind.step(self, *arguments, **keywords)

    scheduler.__class__ = type(kind.__name__, (kind,), {"step": step, "__module__": kind.__module__})
    try:
        yield
    finally:
        scheduler.__class__ = kind


@contextmanager
def undisturbed(pipe: Any, call: Mapping[str, Any]) -> Iterator[None]:
    """Leave no trace of what is done with the pipeline in this block."""
    before = dict(vars(pipe))
    with same_noise(call):
        try:
            pipe.scheduler = copy.deepcopy(pipe.scheduler)
            pipe.scheduler._untouched = getattr(pipe.scheduler, "timesteps", None)
            vars(pipe).pop("_num_timesteps", None)  # that of an earlier run says nothing
            pipe.set_progress_bar_config(disable=True)
            yield
        finally:
            vars(pipe).clear()
            vars(pipe).update(before)
            pipe.maybe_free_model_hooks()


@contextmanager
def same_noise(call: Mapping[str, Any]) -> Iterator[None]:
    """Put every source of random numbers back where it was before the block."""
    generators = [each for value in call.values() for each in (value if isinstance(value, list) else [value])]
    states = [(each, each.get_state()) for each in generators if isinstance(each, torch.Generator)]
    accelerator = torch.accelerator.is_available()
    devices = list(range(torch.accelerator.device_count())) if accelerator else []
    kind = torch.accelerator.current_accelerator().type if devices else "cuda"
    python, arrays = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=devices, device_type=kind):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)
        for generator, state in states:
            generator.set_state(state)
