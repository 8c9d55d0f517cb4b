"""`attach`: DF-Prompts for what a stock call cannot change, with a hook that is gone afterwards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from dfprompt.conditioning.cache import SHARED_CACHE, EncodingCache
from dfprompt.conditioning.call import Call, StockArguments, UserCallback, make_call
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.inputs import PreparedInputs, StepCallback, StepSwap, fit_rows
from dfprompt.conditioning.options import LongPrompts, Options
from dfprompt.conditioning.prepare import out_of_reach, swappable
from dfprompt.conditioning.prompts import Dialect, Prompts
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence


@contextmanager
def attach(
    pipe: Any,
    prompts: Prompts,
    negative_prompt: Prompts | None = None,
    *,
    num_inference_steps: int | None = None,
    timesteps: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
    strength: float | None = None,
    height: int | None = None,
    width: int | None = None,
    num_images_per_prompt: int = 1,
    clip_skip: int | None = None,
    max_sequence_length: int | None = None,
    callback_on_step_end: StepCallback | None = None,
    callback_on_step_end_tensor_inputs: Sequence[str] | None = None,
    weighting: Weighting | None = None,
    absence: Absence = "delete",
    clock: Clock = "steps",
    long_prompts: LongPrompts = "chunk",
    dialect: str = "native",
    plain: bool = False,
    strict: bool = False,
    lora_scale: float | None = None,
    encode_batch_size: int = 32,
    cache: EncodingCache = SHARED_CACHE,
) -> Iterator[PreparedInputs]:
    """Yield keyword arguments like `prepare`'s, and reach what a stock call cannot change.

    That is FLUX's pooled vector, the negative prompt of FLUX and Qwen-Image, and Qwen-Image's
    prompts of changing length. A hook on the denoiser replaces them while these inputs run; other
    runs inside the block are left alone, and nothing is left behind after it, whatever happens.
    Pipelines that need no hook get none. Arguments and errors are those of `prepare`.

    >>> # with attach(flux, "a cat, [oil painting:early]", num_inference_steps=20) as inputs:
    >>> #     image = flux(**inputs).images[0]
    """
    call = make_call(
        pipe,
        prompts,
        negative_prompt,
        StockArguments(
            num_inference_steps,
            timesteps,
            sigmas,
            strength,
            height,
            width,
            num_images_per_prompt,
            max_sequence_length,
        ),
        Options(weighting, absence, clip_skip, long_prompts, encode_batch_size, lora_scale),
        UserCallback(callback_on_step_end, callback_on_step_end_tensor_inputs),
        Dialect(dialect, plain, strict),
        clock,
        cache,
    )
    names = swappable(call)
    if call.compiled is None:
        yield call.plain_inputs()
    elif not out_of_reach(call.compiled, names):
        yield call.compiled_inputs(call.swap(call.compiled, names))
    else:
        with _hooked(call, call.compiled, names) as swap:
            yield call.compiled_inputs(swap)


@contextmanager
def _hooked(call: Call, compiled: Compiled, names: dict[str, str]) -> Iterator[StepSwap]:
    """Put the hook on the denoiser for as long as the block runs."""
    if compiled.adapter.guidance == "separate":
        names = {}  # the hook replaces everything, so that lengths and masks always agree
    reached = {name: arg for name, arg in compiled.adapter.denoiser_names.items() if name not in names}
    hook = DenoiserSwap(compiled, call.stock.num_images_per_prompt, reached)
    swap = HookedSwap(call.swap(compiled, names), hook)
    handle = compiled.adapter.denoiser.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield swap
    finally:
        handle.remove()


class DenoiserSwap:
    """Forward pre-hook that replaces what the denoiser hears from the second evaluation on.

    The first evaluation already hears the right thing: it came with the call. The step callback says
    which evaluation is next and of which run, so runs that are not ours pass untouched.
    """

    def __init__(self, compiled: Compiled, images_per_prompt: int, names: Mapping[str, str]) -> None:
        self.compiled = compiled
        self.images_per_prompt = images_per_prompt
        self.names = dict(names)
        self._fresh: dict[str, Tensor] | None = None
        self._pipe: Any = None
        self._run: Any = None
        self._calls = 0

    def rest(self) -> None:
        """Note that an evaluation is over; until the next one comes, every call is another run's."""
        self._fresh = None

    def advance(self, pipe: Any, following: int) -> None:
        """Note that the evaluation `following` comes next in the run the pipeline is making."""
        self._fresh = self.compiled.at(following) if following < self.compiled.evaluations else None
        # Every run sets its timesteps anew, so the tensor itself tells one run from another.
        self._pipe, self._run, self._calls = pipe, pipe.scheduler.timesteps, 0

    def __call__(
        self, module: Any, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._fresh is None or self._pipe.scheduler.timesteps is not self._run:
            return None
        # With separate guidance the denoiser is called for the prompt first, then for the negative.
        negative = self.compiled.adapter.guidance == "separate" and self._calls == 1
        self._calls += 1
        return arguments, {**keywords, **self._replacements(keywords, negative=negative)}

    def _replacements(self, keywords: Mapping[str, Any], *, negative: bool) -> dict[str, Any]:
        adapter, images = self.compiled.adapter, self.images_per_prompt
        side = {
            name.removeprefix("negative_") if negative else name: tensor
            for name, tensor in (self._fresh or {}).items()
            if name.startswith("negative_") or not negative
        }
        replaced: dict[str, Any] = {}
        for name, argument in self.names.items():
            running = keywords.get(argument)
            if name == "prompt_embeds_mask":
                mask = side[name].repeat_interleave(images, dim=0)
                # The pipelines pass no mask where every token is real.
                replaced[argument] = None if bool(mask.all()) else mask
            elif running is not None:
                replaced[argument] = fit_rows(self._pipe, adapter, name, side, running, images)
        return replaced


class HookedSwap(StepSwap):
    """A step callback that also tells the hook on the denoiser where the run is."""

    def __init__(self, swap: StepSwap, hook: DenoiserSwap) -> None:
        super().__init__(swap.compiled, swap.images_per_prompt, swap.names, swap.user, swap.user_inputs)
        self._hook = hook

    def __call__(self, pipe: Any, index: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        self._hook.rest()  # the user's callback may run the denoiser itself, for a preview
        result = super().__call__(pipe, index, timestep, tensors)
        self._hook.advance(pipe, index + 1)
        return result
