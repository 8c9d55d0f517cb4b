"""`run`: a pipeline's own call with DF-Prompts, on any pipeline that takes a prompt."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dfprompt.conditioning.attach import attach
from dfprompt.conditioning.cache import SHARED_CACHE, EncodingCache
from dfprompt.conditioning.call import CallRequest
from dfprompt.conditioning.capabilities import Weighting, find_capabilities
from dfprompt.conditioning.facts import lora_scale
from dfprompt.conditioning.families import check_diffusers
from dfprompt.conditioning.generic.listening import find_denoisers
from dfprompt.conditioning.generic.steering import steer
from dfprompt.conditioning.generic.texts import Prompts as PromptRows
from dfprompt.conditioning.generic.weights import find_weighted
from dfprompt.conditioning.lora_files import load_loras
from dfprompt.conditioning.lora_words import (
    loaded_loras,
    named_loras,
    refuse_negative_loras,
    silent_encoders,
)
from dfprompt.conditioning.options import LongPrompts, Options
from dfprompt.conditioning.prompts import Dialect, Prompts, read_prompts
from dfprompt.conditioning.schedule import call_default, parameters
from dfprompt.config import nearest
from dfprompt.errors import ConfigError, UnsupportedPipelineError
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.clocks import Clock
from dfprompt.prompt.plan import Absence

_PROMPT_NAME = re.compile(r"(negative_)?prompt(_\d)?")
_GIVEN_NAME = re.compile(r"(negative_)?(pooled_)?prompt_embeds|(negative_)?pooled_projections")
# What decides how prompts are laid out and encoded: `attach` takes it, and hands it on.
_LAID_OUT = frozenset(CallRequest.__dataclass_fields__) - {"lora_scale"}
# Arguments that let a model rewrite the prompt before it is encoded; some are on by default.
_REWRITER = re.compile(r"use_pe|expand_prompts|\w*prompt_(rewrite|enhancement|upsampling)")
# With these a pipeline of a known family hears a text once more, as it was before the first step.
_NEEDS_LISTENING = ("skip_guidance_layers",)


def run(
    pipe: Any,
    prompt: Prompts,
    negative_prompt: Prompts | None = None,
    *,
    weighting: Weighting | None = None,
    absence: Absence = "delete",
    clock: Clock = "steps",
    dialect: str = "native",
    plain: bool = False,
    strict: bool = False,
    long_prompts: LongPrompts = "chunk",
    encode_batch_size: int = 32,
    cache: EncodingCache = SHARED_CACHE,
    loras: Mapping[str, str | Path] | None = None,
    **call: Any,
) -> Any:
    """Make a diffusers pipeline's own call with DF-Prompts, and return its own output.

    `prompt` and `negative_prompt` are one prompt or a list with one per row, as text or DFPrompt; so
    are `prompt_2`, `prompt_3` and their negatives in `call` where the pipeline takes them. All other
    keywords in `call` are the pipeline's own and reach it unchanged: steps, guidance, pictures,
    generators, sizes, callbacks. Prompts without control give the stock call's result to the bit.

    What some pipelines have inside to rewrite a prompt is left off, unless the call asks for it: a
    DF-Prompt is about the words that are encoded.

    Families that `dfprompt capabilities` calls special encode all texts at once and take weights.
    Every other pipeline is steered by what its denoisers hear: `run` listens to the pipeline's own
    encoding of each distinct text (at most one evaluation each) and puts it in place step by step;
    that gives ranges, and weights where the class belongs to a family whose tokens can be placed.

    `weighting` names the rule for weights (by default the family's own), `absence` says whether
    words outside their range are deleted or hidden (`mask`), `clock` whether ranges count steps or
    training time, `dialect`, `plain` and `strict` how text is read, `long_prompts` what happens beyond
    the encoder's window, `encode_batch_size` how many texts are encoded at once, `cache` where
    encodings are kept. `loras` loads adapters for this call under the names that words like
    `[<lora:NAME:0.8>:late]` use, from .safetensors files; adapters loaded before keep their names.

    Raises ParseError, PromptValueError or ConfigError for bad input (an unknown keyword is answered
    with the nearest one), UnsupportedPipelineError, before anything is drawn, for what the pipeline
    cannot do, GenerationError for a run that went another way than its schedule said.

    >>> # run(pipe, "a red horse, [anime style:early:1.5]", num_inference_steps=20).images[0]
    """
    _check_call(pipe, call)
    call = {**_own_words(pipe), **call}
    asked = CallRequest(
        pipe,
        prompt,
        negative_prompt,
        weighting=weighting,
        absence=absence,
        clock=clock,
        long_prompts=long_prompts,
        dialect=dialect,
        plain=plain,
        strict=strict,
        lora_scale=lora_scale(call),
        encode_batch_size=encode_batch_size,
        cache=cache,
        **{name: value for name, value in call.items() if name in _LAID_OUT},
    )
    options = asked.options  # refused before anything is loaded
    with load_loras(pipe, loras):
        return _run_special(asked, call) if _is_special(pipe, call) else _run(asked, options, call)


def _run(asked: CallRequest, options: Options, call: Mapping[str, Any]) -> Any:
    pipe, reading = asked.pipe, Dialect(asked.dialect, asked.plain, asked.strict, loaded_loras(asked.pipe))
    words = {"prompt": asked.prompts, "negative_prompt": asked.negative_prompt, **call}
    prompts = _read_all(pipe, words, reading)
    others = {name: value for name, value in call.items() if not _PROMPT_NAME.fullmatch(name)}
    loras = named_loras(pipe, prompts.rows["prompt"])
    refuse_negative_loras(pipe, prompts.rows.get("negative_prompt", ()))
    if prompts.is_plain and not loras:
        return pipe(**others, **prompts.arguments(prompts.plain_texts))
    _check_options(pipe, options)
    with silent_encoders(pipe, loras, find_denoisers(pipe)):
        return steer(pipe, prompts, others, clock=asked.clock, loras=loras)


def _run_special(asked: CallRequest, call: Mapping[str, Any]) -> Any:
    others = {name: value for name, value in call.items() if name not in _LAID_OUT}
    with attach(**vars(asked)) as inputs:
        # The call's own attention arguments hold the scale, and whatever else.
        return asked.pipe(**{**inputs, **others})


def _is_special(pipe: Any, call: Mapping[str, Any]) -> bool:
    """Whether the pipeline's family has an adapter of its own that can serve this call."""
    if find_capabilities(kind.__name__ for kind in type(pipe).__mro__) is None:
        return False
    return not any(
        value is not None and (_PROMPT_NAME.fullmatch(name) or name in _NEEDS_LISTENING)
        for name, value in call.items()
    )


def _read_all(pipe: Any, call: Mapping[str, Any], reading: Dialect) -> PromptRows:
    steps = call.get("num_inference_steps", call_default(pipe, "num_inference_steps"))
    given = {
        name: value for name, value in call.items() if _PROMPT_NAME.fullmatch(name) and value is not None
    }
    rows = {
        name: read_prompts(value, reading, num_inference_steps=steps if hasattr(steps, "__index__") else None)
        for name, value in given.items()
    }
    if not rows["prompt"]:
        raise ConfigError("there is no prompt; pass at least one")
    single = frozenset(name for name, value in given.items() if isinstance(value, str | DFPrompt))
    return PromptRows(rows, single)


def check_steerable(pipe: Any) -> None:
    """Raise UnsupportedPipelineError for what is no text-driven pipeline with a denoiser."""
    _check_call(pipe, {})
    if not find_denoisers(pipe) or getattr(pipe, "scheduler", None) is None:
        raise UnsupportedPipelineError(
            f"{type(pipe).__name__} has no denoiser that is asked step by step under a scheduler, so no word "
            "can have a range there"
        )


def _check_call(pipe: Any, call: Mapping[str, Any]) -> None:
    """Refuse what is no text-driven pipeline, and keywords that its call does not take."""
    check_diffusers(pipe)
    title, known = type(pipe).__name__, parameters(type(pipe).__call__)
    if "prompt" not in known:
        raise UnsupportedPipelineError(f"{title} takes no prompt, so there are no words to steer")
    # Calls that take any keyword look for a few old ones by name and drop the rest in silence.
    own = [name for name in known if name != "self"]
    old = inspect.unwrap(type(pipe).__call__).__code__.co_consts
    for name in call:
        if _GIVEN_NAME.fullmatch(name):
            raise ConfigError(
                f"{name} is what dfprompt makes of the prompt; pass the words, or call the pipeline itself"
            )
        if name not in own and name not in old:
            raise ConfigError(f"{title} takes no {name}; {nearest(name, [*own, *parameters(run)])}")


def _own_words(pipe: Any) -> dict[str, Any]:
    """Return what switches a pipeline's own rewriter of prompts off, where it is on by default."""
    names = [name for name in parameters(type(pipe).__call__) if _REWRITER.fullmatch(name)]
    return {name: False for name in names if call_default(pipe, name) is True}


def _check_options(pipe: Any, options: Options) -> None:
    """Refuse choices that only families with an adapter of their own have."""
    for name, value, default in (
        ("weighting", None if options.weighting in _rules(pipe) else options.weighting, None),
        ("absence", options.absence, "delete"),
    ):
        if value != default:
            raise UnsupportedPipelineError(
                f"{type(pipe).__name__} has no adapter of its own and knows no {name}={value!r}; leave it out"
            )


def _rules(pipe: Any) -> tuple[str, ...]:
    """Return the weighting rules of a pipeline without an adapter of its own."""
    weighted = find_weighted(kind.__name__ for kind in type(pipe).__mro__) is not None
    return ("attention",) if weighted else ()
