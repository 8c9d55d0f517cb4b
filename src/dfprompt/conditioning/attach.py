"""`attach`: DF-Prompts for what a stock call cannot change, with a hook that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from dfprompt.conditioning.attention_rule import weigh_values
from dfprompt.conditioning.call import Call, CallRequest, call_door, make_call
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.inputs import PreparedInputs, StepSwap, fit_rows
from dfprompt.conditioning.lora_words import LoraWords
from dfprompt.conditioning.ownership import CarriedRun, RunHooks
from dfprompt.conditioning.prepare import out_of_reach, swappable
from dfprompt.errors import GenerationError


@call_door(CallRequest)
@contextmanager
def attach(request: CallRequest) -> Iterator[PreparedInputs]:
    """Yield keyword arguments like `prepare`'s, and reach what a stock call cannot change.

    That is weights by attention, FLUX's pooled vector, the negative prompt of FLUX and Qwen-Image,
    and Qwen-Image's prompts of changing length. A hook on the denoiser replaces them while these
    inputs run; other runs inside the block are left alone, and nothing is left behind after it,
    whatever happens.
    Pipelines that need no hook get none. Arguments and errors are those of `prepare`.

    >>> # with attach(flux, "a cat, [oil painting:early]", num_inference_steps=20) as inputs:
    >>> #     image = flux(**inputs).images[0]
    """
    call = make_call(request)
    names = swappable(call)
    if call.compiled is None:
        yield call.plain_inputs()
    elif not call.loras and not call.compiled.weighs and not out_of_reach(call.compiled, names):
        yield call.compiled_inputs(call.swap(call.compiled, names))
    else:
        with _hooked(call, call.compiled, names) as swap:
            yield call.compiled_inputs(swap)


@contextmanager
def _hooked(call: Call, compiled: Compiled, names: dict[str, str]) -> Iterator[StepSwap]:
    """Put the hook on the denoiser for as long as the block runs."""
    adapter = compiled.adapter
    if adapter.capabilities.guidance == "separate":
        names = {}  # the hook replaces everything, so that lengths and masks always agree
    reached = {name: argument for name, argument in adapter.denoiser_names.items() if name not in names}
    run = CarriedRun(call.pipe)
    with RunHooks(adapter.listeners, run) as hooks:
        run.hooks = hooks
        for listener in adapter.listeners:
            hooks.on_input(listener, DenoiserSwap(call, compiled, reached, hooks))
        weigh_values(hooks, compiled, call.stock.num_images_per_prompt)
        run.callback = HookedSwap(call.swap(compiled, names), hooks)
        with LoraWords(adapter.listeners, call.loras).acting(hooks):
            yield run.callback


class DenoiserSwap:
    """What the denoiser hears from the second evaluation on; the first heard what came with the call."""

    def __init__(self, call: Call, compiled: Compiled, names: Mapping[str, str], hooks: RunHooks) -> None:
        self._pipe = call.pipe
        self._images = call.stock.num_images_per_prompt
        self._compiled = compiled
        self._names = dict(names)
        self._hooks = hooks

    def __call__(
        self, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        evaluation = self._hooks.evaluation
        if not 0 < evaluation < self._compiled.evaluations:
            return None
        # With separate guidance the denoiser is called for the prompt first, then for the negative.
        negative = self._compiled.adapter.capabilities.guidance == "separate" and self._hooks.call == 1
        fresh = self._compiled.at(evaluation)
        return arguments, {**keywords, **self._replacements(fresh, keywords, negative=negative)}

    def _replacements(
        self, fresh: Mapping[str, Tensor], keywords: Mapping[str, Any], *, negative: bool
    ) -> dict[str, Any]:
        side = {
            name.removeprefix("negative_") if negative else name: tensor
            for name, tensor in fresh.items()
            if name.startswith("negative_") or not negative
        }
        replaced: dict[str, Any] = {}
        for name, argument in self._names.items():
            running = keywords.get(argument)
            if name == "prompt_embeds_mask":
                mask = side[name].repeat_interleave(self._images, dim=0)
                # The pipelines pass no mask where every token is real.
                replaced[argument] = None if bool(mask.all()) else mask
            elif running is not None:
                adapter = self._compiled.adapter
                replaced[argument] = fit_rows(self._pipe, adapter, name, side, running, self._images)
        return replaced


class HookedSwap(StepSwap):
    """A step callback that also tells the hooks where the run is, and serves only while they are on."""

    def __init__(self, swap: StepSwap, hooks: RunHooks) -> None:
        super().__init__(swap.facts, swap.names, swap.user, swap.user_inputs)
        self._hooks = hooks

    def __call__(self, pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        if self._hooks.closed:
            raise GenerationError(
                "these inputs were used after their block: the hook on the denoiser is gone, so no step "
                "would hear its own text; call the pipeline inside `with dfprompt.attach(...)`"
            )
        if not self._hooks.reached:
            raise GenerationError(
                "this run's denoiser went past the hook: either its step callback was wrapped (give yours to "
                "attach as callback_on_step_end) or the denoiser was compiled while the hook was off "
                "(attach before the first compiled call)"
            )
        with self._hooks.paused():  # the user's callback may run the denoiser itself, for a preview
            result = super().__call__(pipe, index, timestep, tensors)
        self._hooks.begin(index + 1)
        return result
