"""Compile prompts for a pipeline: every distinct text encoded once, per step an index into the bank.

This is what `prepare` hands to the stock pipelines and what the project's own denoising loops read.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from itertools import chain

from dfprompt.conditioning.adapter import TextAdapter
from dfprompt.conditioning.cache import SHARED_CACHE, EncodingCache
from dfprompt.conditioning.capabilities import SIGNED_WEIGHTINGS, WEIGHTINGS, Weighting
from dfprompt.conditioning.compiled import Compiled, Index
from dfprompt.conditioning.encoder_layout import Conditioning
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import Schedule
from dfprompt.errors import ConfigError, DFPromptWarning, UnsupportedPipelineError
from dfprompt.excerpt import quote
from dfprompt.prompt.ast import DFPrompt
from dfprompt.prompt.formatter import explain_silence
from dfprompt.prompt.plan import Plan, PlannedStep, make_plan


def compile_prompts(
    adapter: TextAdapter,
    prompts: Sequence[DFPrompt],
    negative_prompts: Sequence[DFPrompt] | None,
    schedule: Schedule,
    options: Options | None = None,
    *,
    cache: EncodingCache = SHARED_CACHE,
) -> Compiled:
    """Encode every distinct text of a batch once, in one batch per encoder, and index it by step.

    `negative_prompts` holds one prompt per row, or None for the family's own habit (the empty
    prompt, zeros, or none at all). Raises UnsupportedPipelineError for what the family cannot do,
    ConfigError for a number of negative prompts that is not that of the prompts. Warns
    (DFPromptWarning) of spans that never act, of text that is cut and of rows that are padded.
    """
    options = options or Options()
    plans, negative_plans = plan_prompts(prompts, negative_prompts, schedule, options)
    rule = _choose_rule(adapter, options)
    _refuse_negative([*plans, *negative_plans], rule)
    positive = [[_conditioning(step, options.clip_skip) for step in plan.steps] for plan in plans]
    negative = _negatives(adapter, len(plans), schedule.evaluations, negative_plans)
    heard = list(dict.fromkeys(chain.from_iterable([*positive, *negative])))
    chunks = options.long_prompts == "chunk"
    bank = adapter.encode(
        heard,
        rule,
        chunks=chunks,
        cache=cache,
        batch_size=options.encode_batch_size,
        lora_scale=options.lora_scale,
    )
    if not schedule.shared:  # words that never act here may act in the other part of the run
        _report_idle([*plans, *negative_plans])
    for lost in bank.lost.values():
        _warn(f"the prompt is longer than the encoder's window, cut off: {quote(lost, 200)}")
    windows = dict(zip(heard, bank.windows, strict=True))
    _report_padding([max(windows[each] for each in row) for row in positive])
    sides = [_index(side, heard, bank.entries) for side in (positive, negative)]
    if bank.token_weights is not None:
        sides += [_index(side, heard, bank.token_weights.entries) for side in (positive, negative)]
    return Compiled(adapter, schedule, tuple(plans), tuple(negative_plans), bank, *sides)


def _index(
    side: Sequence[Sequence[Conditioning]], heard: Sequence[Conditioning], entries: Sequence[int]
) -> Index:
    """Return the number of what each row hears at each evaluation."""
    numbers = dict(zip(heard, entries, strict=True))
    return tuple(tuple(numbers[each] for each in row) for row in side)


def plan_prompts(
    prompts: Sequence[DFPrompt],
    negative_prompts: Sequence[DFPrompt] | None,
    schedule: Schedule,
    options: Options,
) -> tuple[list[Plan], list[Plan]]:
    """Lay prompts and negative prompts out over a run; raises ConfigError if their numbers differ."""
    if not prompts:
        raise ConfigError("there is no prompt; pass at least one")
    if negative_prompts is not None and len(negative_prompts) != len(prompts):
        raise ConfigError(
            f"{len(negative_prompts)} negative prompts for {len(prompts)} prompts; "
            "pass one for all of them, or one for each"
        )
    plans: dict[DFPrompt, Plan] = {}
    for prompt in [*prompts, *(negative_prompts or ())]:
        if prompt not in plans:
            plans[prompt] = _plan(prompt, schedule, options)
    return [plans[prompt] for prompt in prompts], [plans[prompt] for prompt in negative_prompts or ()]


def count_windows(
    adapter: TextAdapter,
    prompts: Sequence[DFPrompt],
    negative_prompts: Sequence[DFPrompt] | None,
    schedule: Schedule,
    options: Options | None = None,
) -> list[int]:
    """Return how many windows each row fills, its negative prompt included.

    Rows of equal counts can share a batch without changing each other.
    """
    options = options or Options()
    plans, negative_plans = plan_prompts(prompts, negative_prompts, schedule, options)
    texts = list(dict.fromkeys(step.text for plan in [*plans, *negative_plans] for step in plan.steps))
    windows = adapter.windows(texts, chunks=options.long_prompts == "chunk")
    counts = dict(zip(texts, windows, strict=True))
    sides = zip(plans, negative_plans, strict=True) if negative_plans else ((plan,) for plan in plans)
    return [max(counts[step.text] for plan in row for step in plan.steps) for row in sides]


def _plan(prompt: DFPrompt, schedule: Schedule, options: Options) -> Plan:
    return make_plan(
        prompt,
        schedule.num_inference_steps,
        clock=schedule.clock,
        timesteps=schedule.timesteps,
        num_train_timesteps=schedule.num_train_timesteps,
        absence=options.absence,
        step_of_evaluation=schedule.steps,
        first_step=schedule.begin,
    )


def _conditioning(step: PlannedStep, clip_skip: int | None) -> Conditioning:
    weights = tuple((part.start, part.end, float(part.weight)) for part in step.weights)
    return Conditioning(step.text, weights, step.hidden, clip_skip)


def _negatives(
    adapter: TextAdapter, rows: int, evaluations: int, plans: Sequence[Plan]
) -> list[list[Conditioning]]:
    # The pipelines skip no layers for the negative prompt, whatever clip_skip says.
    if plans:
        return [[_conditioning(step, None) for step in plan.steps] for plan in plans]
    if adapter.missing_negative is None:
        return []
    missing = Conditioning(adapter.missing_negative, silent=adapter.silent_negative)
    return [[missing] * evaluations] * rows


def _choose_rule(adapter: TextAdapter, options: Options) -> Weighting:
    """Return the weighting rule, after refusing what the family cannot do."""
    able = adapter.capabilities
    if options.absence == "mask" and not able.mask:
        raise UnsupportedPipelineError(f'{able.title} cannot hide tokens; use absence="delete"')
    rule = options.weighting or adapter.default_weighting
    if rule not in able.weightings:
        known = " or ".join(able.weightings)
        reason = " because it cannot act there" if rule in WEIGHTINGS else ""
        raise UnsupportedPipelineError(f"{able.title} knows no weighting={quote(rule)}{reason}; use {known}")
    return rule


def _refuse_negative(plans: Iterable[Plan], rule: Weighting) -> None:
    """Refuse weights below 0 under rules for which they mean nothing."""
    if rule in SIGNED_WEIGHTINGS:
        return
    below = next(
        (part for plan in plans for step in plan.steps for part in step.weights if part.weight < 0), None
    )
    if below is not None:
        raise UnsupportedPipelineError(
            f"{quote(below.text)} has weight {float(below.weight):g}, and weighting={quote(rule)} knows no "
            "weights below 0; put the words into the negative prompt, or use "
            f"weighting={' or '.join(map(quote, sorted(SIGNED_WEIGHTINGS)))} where the pipeline has it"
        )


def _report_idle(plans: Iterable[Plan]) -> None:
    """Name the spans that should act and never do; weight 0 is meant."""
    idle = {
        span: plan for plan in plans for span in plan.never_active if span.weight.first or span.weight.last
    }
    for span, plan in idle.items():
        _warn(explain_silence(plan, span))


def _report_padding(windows: Sequence[int]) -> None:
    if len(set(windows)) > 1:
        _warn(
            f"the prompts of this batch fill {min(windows)} to {max(windows)} windows; the shorter ones are "
            "padded and their pictures change slightly; run prompts of different lengths in separate batches"
        )


def _warn(message: str) -> None:
    warnings.warn(message, DFPromptWarning, stacklevel=4)
