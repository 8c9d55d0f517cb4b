"""`prepare`: a DF-Prompt as keyword arguments of the stock pipeline call."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from dfprompt.conditioning.cache import SHARED_CACHE, EncodingCache
from dfprompt.conditioning.call import Call, StockArguments, UserCallback, make_call, refuse_unknown
from dfprompt.conditioning.capabilities import Weighting
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.inputs import PreparedInputs, StepCallback
from dfprompt.conditioning.options import LongPrompts, Options
from dfprompt.conditioning.prompts import Dialect, Prompts
from dfprompt.errors import DFPromptWarning, UnsupportedPipelineError
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence


def prepare(
    pipe: Any,
    prompts: Prompts,
    negative_prompt: Prompts | None = None,
    *,
    num_inference_steps: int | None = None,
    timesteps: Sequence[float] | None = None,
    sigmas: Sequence[float] | None = None,
    strength: float | None = None,
    denoising_start: float | None = None,
    denoising_end: float | None = None,
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
    **unknown: Any,
) -> PreparedInputs:
    """Return keyword arguments that make a stock diffusers pipeline run DF-Prompts.

    The arguments up to the callback are the stock call's own and reach it through the result;
    whatever is left out has the pipeline's default. `prompts` and `negative_prompt` are one prompt
    or one per row, as text or DFPrompt; one negative prompt serves all rows. Everything else
    (guidance_scale, generator, image ...) goes to the call itself. Prompts without control that fit
    the encoder's window are passed on as text, so that the pipeline encodes them itself, bit for
    bit as ever.

    Raises ParseError, PromptValueError or ConfigError for bad input and UnsupportedPipelineError for
    what the pipeline cannot do in a stock call; `attach` can do more.

    >>> # inputs = prepare(pipe, "a red horse, [anime style:early:1.5]", num_inference_steps=10)
    >>> # image = pipe(**inputs, guidance_scale=7.5).images[0]
    """
    refuse_unknown(unknown, prepare)
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
            denoising_start,
            denoising_end,
        ),
        Options(weighting, absence, clip_skip, long_prompts, encode_batch_size, lora_scale),
        UserCallback(callback_on_step_end, callback_on_step_end_tensor_inputs),
        Dialect(dialect, plain, strict),
        clock,
        cache,
    )
    if call.compiled is None:
        return call.plain_inputs()
    names = swappable(call)
    _refuse_what_needs_a_hook(call, call.compiled, names)
    return call.compiled_inputs(call.swap(call.compiled, names))


def swappable(call: Call) -> dict[str, str]:
    """Return which tensors the step callback of this very pipeline may replace, and under which names."""
    allowed = type(call.pipe)._callback_tensor_inputs
    return {bank: name for bank, name in call.adapter.callback_names.items() if name in allowed}


def out_of_reach(compiled: Compiled, names: dict[str, str]) -> list[str]:
    """Return the tensors that change in the run and that the step callback cannot replace."""
    moving = [name for name in compiled.bank.names if name not in names and compiled.moves(name)]
    if compiled.negative:
        separate = compiled.adapter.capabilities.guidance == "separate"
        fixed = [name for name in compiled.bank.names if separate or name not in names]
        moving += ["negative_" + name for name in fixed if compiled.moves(name, negative=True)]
    return moving


def _refuse_what_needs_a_hook(call: Call, compiled: Compiled, names: dict[str, str]) -> None:
    """Refuse what the call cannot do; a pooled vector that stays is worth a warning only."""
    title, missed = type(call.pipe).__name__, out_of_reach(compiled, names)
    if call.loras:
        raise UnsupportedPipelineError(
            f"the LoRA words of {' and '.join(call.loras)} change the model of {title} from step to step, "
            "which a stock call cannot; use dfprompt.run, or `with dfprompt.attach(pipe, ...) as inputs:`"
        )
    if compiled.weighs:
        raise UnsupportedPipelineError(
            f"weights act in the attention of {title} and need a hook there, which a stock call has not; "
            "use dfprompt.run, or `with dfprompt.attach(pipe, ...) as inputs:` with the same arguments"
            + ('; or take weighting="comfy"' if "comfy" in call.adapter.capabilities.weightings else "")
        )
    refused = [name for name in missed if name != "pooled_prompt_embeds"]
    if refused:
        negative = refused[-1].startswith("negative_")
        what = "the negative prompt" if negative else "the number of prompt tokens"
        raise UnsupportedPipelineError(
            f"{title} cannot change {what} from step to step in a stock call; "
            "use `with dfprompt.attach(pipe, ...) as inputs:` with the same arguments"
        )
    if missed:
        warnings.warn(
            f"{title} keeps the pooled vector of the first step throughout a stock call; "
            "dfprompt.attach changes it with the steps",
            DFPromptWarning,
            stacklevel=3,
        )
