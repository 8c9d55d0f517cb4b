"""A stock pipeline call in the making: arguments checked, prompts read, texts compiled if they must be."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ParamSpec, TypeVar

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import SHARED_CACHE, EncodingCache
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.facts import ATTENTION_ARGUMENTS, CallFacts
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.inputs import PreparedInputs, StepCallback, StepSwap
from dfprompt.conditioning.lora_words import (
    Strengths,
    loaded_loras,
    named_loras,
    read_strengths,
    refuse_negative_loras,
    silent_encoders,
)
from dfprompt.conditioning.options import LongPrompts, Options
from dfprompt.conditioning.prompts import Dialect, Prompts, read_prompts, spread_negatives
from dfprompt.conditioning.schedule import Schedule, accepts, read_schedule, read_strength
from dfprompt.config import nearest
from dfprompt.errors import ConfigError, DFPromptWarning, UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence

P = ParamSpec("P")
Out = TypeVar("Out")


@dataclass(frozen=True, slots=True)
class UserCallback:
    """The user's own step callback and the tensors it asks for."""

    function: StepCallback | None = None
    tensor_inputs: Sequence[str] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """The tensors diffusers would pass to it: those named, its own, or the latents."""
        if self.tensor_inputs is not None:
            return tuple(self.tensor_inputs)
        return tuple(getattr(self.function, "tensor_inputs", ("latents",)))


@dataclass(frozen=True)
class CallRequest:
    """All that `prepare` and `attach` are asked; up to the callback the stock call's own arguments.

    What is None has the pipeline's default.
    """

    pipe: Any
    prompts: Prompts
    negative_prompt: Prompts | None = None
    _: KW_ONLY
    num_inference_steps: int | None = None
    timesteps: Sequence[float] | None = None
    sigmas: Sequence[float] | None = None
    strength: float | None = None
    denoising_start: float | None = None
    denoising_end: float | None = None
    height: int | None = None
    width: int | None = None
    num_images_per_prompt: int = 1
    clip_skip: int | None = None
    max_sequence_length: int | None = None
    callback_on_step_end: StepCallback | None = None
    callback_on_step_end_tensor_inputs: Sequence[str] | None = None
    weighting: Weighting | None = None
    absence: Absence = "delete"
    clock: Clock = "steps"
    long_prompts: LongPrompts = "chunk"
    dialect: str = "native"
    plain: bool = False
    strict: bool = False
    lora_scale: float | None = None
    encode_batch_size: int = 32
    cache: EncodingCache = SHARED_CACHE

    @property
    def options(self) -> Options:
        """How texts become encodings; raises ConfigError for what cannot be."""
        return Options(**{name: getattr(self, name) for name in Options.__dataclass_fields__})


def call_door(kind: Callable[P, CallRequest]) -> Callable[[Callable[[CallRequest], Out]], Callable[P, Out]]:
    """Return a decorator that lets a function of a request be called with the request's fields.

    Raises ConfigError for a keyword that is none of them, with the nearest, or `run`.
    """
    known = inspect.signature(kind)

    def decorate(work: Callable[[CallRequest], Out]) -> Callable[P, Out]:
        @functools.wraps(work)
        def door(*given: P.args, **keywords: P.kwargs) -> Out:
            for name in keywords.keys() - known.parameters.keys():
                raise ConfigError(
                    f"{work.__name__} takes no {name}: {nearest(name, list(known.parameters))} "
                    "What else the call takes goes to the call itself; "
                    f"dfprompt.run(pipe, prompt, {name}=...) takes both"
                )
            return work(kind(*given, **keywords))

        door.__signature__ = known  # type: ignore[attr-defined]
        return door

    return decorate


@dataclass(frozen=True)
class Call:
    """What is known of a call before it is made; `compiled` is None where plain text is passed on."""

    pipe: Any
    adapter: TextAdapter
    prompts: list[DFPrompt]
    negatives: list[DFPrompt] | None
    stock: CallRequest
    schedule: Schedule
    options: Options
    user: UserCallback
    compiled: Compiled | None
    loras: Strengths

    def swap(self, compiled: Compiled, names: dict[str, str]) -> StepSwap:
        """Return the step callback that replaces these tensors (bank name -> callback name)."""
        facts = CallFacts(compiled, self.stock.num_images_per_prompt, self.options)
        return StepSwap(facts, names, self.user.function, self.user.inputs)

    def plain_inputs(self) -> PreparedInputs:
        """Return the keyword arguments with the texts themselves."""
        values = _shared_arguments(self) | _texts(self)
        if self.user.function is not None:
            values["callback_on_step_end"] = self.user.function
            values["callback_on_step_end_tensor_inputs"] = list(self.user.inputs)
        return PreparedInputs(self.pipe, values)

    def compiled_inputs(self, swap: StepSwap) -> PreparedInputs:
        """Return the keyword arguments with the first step's embeddings and the step callback."""
        values = _shared_arguments(self) | _embeddings(self, swap.compiled)
        values["callback_on_step_end"] = swap
        values["callback_on_step_end_tensor_inputs"] = swap.tensor_inputs
        return PreparedInputs(self.pipe, values, swap.compiled)


def make_call(request: CallRequest) -> Call:
    """Read and check everything that was asked, and compile the prompts if they need it."""
    pipe, negative_prompt = request.pipe, request.negative_prompt
    options = request.options
    user = UserCallback(request.callback_on_step_end, request.callback_on_step_end_tensor_inputs)
    adapter = adapter_for(pipe, max_sequence_length=request.max_sequence_length)
    _check_call(request)
    schedule = read_schedule(
        pipe,
        num_inference_steps=request.num_inference_steps,
        timesteps=request.timesteps,
        sigmas=request.sigmas,
        strength=request.strength,
        clock=request.clock,
        height=request.height,
        width=request.width,
        denoising_start=request.denoising_start,
        denoising_end=request.denoising_end,
    )
    steps = schedule.num_inference_steps
    dialect = Dialect(request.dialect, request.plain, request.strict, loaded_loras(pipe))
    positives = read_prompts(request.prompts, dialect, num_inference_steps=steps)
    if not positives:
        raise ConfigError("there is no prompt; pass at least one")
    negatives = None
    if negative_prompt is not None:
        read = read_prompts(negative_prompt, dialect, num_inference_steps=steps)
        negatives = spread_negatives(read, len(positives))
    compiled, loras = None, named_loras(pipe, positives)
    refuse_negative_loras(pipe, negatives or [])
    if loras or not _is_plain(adapter, [*positives, *(negatives or [])], options):
        with silent_encoders(pipe, loras, adapter.listeners):
            compiled = compile_prompts(adapter, positives, negatives, schedule, options, cache=request.cache)
    strengths = read_strengths(compiled.plans, loras) if compiled is not None else {}
    return Call(pipe, adapter, positives, negatives, request, schedule, options, user, compiled, strengths)


def _check_call(request: CallRequest) -> None:
    pipe, images = request.pipe, request.num_images_per_prompt
    if isinstance(images, bool) or not isinstance(images, int) or images < 1:
        raise ConfigError(f"num_images_per_prompt must be an integer of at least 1, not {quote(images)}")
    for name in ("clip_skip", "negative_prompt"):
        value = getattr(request, name)
        if value is not None and not accepts(pipe, name):
            raise ConfigError(f"{type(pipe).__name__} takes no {name}; leave {name}={quote(value)} out")
    if not accepts(pipe, "callback_on_step_end"):
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} calls nothing back at its steps, so nothing can be changed there"
        )


def _is_plain(adapter: TextAdapter, prompts: Sequence[DFPrompt], options: Options) -> bool:
    """Whether the pipeline can encode these texts itself; warns of what it will cut off."""
    if not all(prompt.is_plain for prompt in prompts):
        return False
    if options.clip_skip is not None and not adapter.stock_clip_skip:
        return False
    long = [prompt.plain_text for prompt in dict.fromkeys(prompts) if not adapter.fits(prompt.plain_text)]
    if long and options.long_prompts == "chunk":
        return False
    for text in long:
        lost = quote(adapter.cut_off(text), 200)
        warnings.warn(
            f"the prompt is longer than the encoder's window, cut off: {lost}", DFPromptWarning, stacklevel=5
        )
    return True


def _shared_arguments(call: Call) -> dict[str, Any]:
    stock = call.stock
    own_schedule = stock.timesteps is not None or stock.sigmas is not None
    values: dict[str, Any] = {}
    optional = {
        "num_inference_steps": None if own_schedule else call.schedule.num_inference_steps,
        "timesteps": stock.timesteps,
        "sigmas": stock.sigmas,
        "strength": read_strength(call.pipe, stock.strength),
        "height": stock.height,
        "width": stock.width,
        "max_sequence_length": stock.max_sequence_length,
        "denoising_start": stock.denoising_start,
        "denoising_end": stock.denoising_end,
    }
    values |= {name: value for name, value in optional.items() if value is not None}
    if call.options.lora_scale is not None:
        name = next(name for name in ATTENTION_ARGUMENTS if accepts(call.pipe, name))
        values[name] = {"scale": call.options.lora_scale}
    return values


def _texts(call: Call) -> dict[str, Any]:
    values: dict[str, Any] = {"prompt": [prompt.plain_text for prompt in call.prompts]}
    if call.negatives is not None:
        values["negative_prompt"] = [prompt.plain_text for prompt in call.negatives]
    if call.options.clip_skip is not None:
        values["clip_skip"] = call.options.clip_skip
    if call.stock.num_images_per_prompt != 1:
        values["num_images_per_prompt"] = call.stock.num_images_per_prompt
    return values


def _embeddings(call: Call, compiled: Compiled) -> dict[str, Any]:
    images = call.stock.num_images_per_prompt
    values: dict[str, Any] = dict(compiled.at(0))
    if images != 1 and call.adapter.capabilities.expands_rows:
        values["num_images_per_prompt"] = images
    elif images != 1:  # the stock call would repeat the noise, but not (rightly) the embeddings it is given
        values = {name: tensor.repeat_interleave(images, dim=0) for name, tensor in values.items()}
    return values
