"""`prepare`: a DF-Prompt as keyword arguments of the stock pipeline call."""

from __future__ import annotations

import warnings

from dfprompt.conditioning.call import Call, CallRequest, call_door, make_call
from dfprompt.conditioning.compiled import Compiled
from dfprompt.conditioning.inputs import PreparedInputs
from dfprompt.errors import DFPromptWarning, UnsupportedPipelineError


@call_door(CallRequest)
def prepare(request: CallRequest) -> PreparedInputs:
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
    call = make_call(request)
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
            stacklevel=4,
        )
