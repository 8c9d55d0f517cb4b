"""A policy's restraint curve, measured: the policy at several end biases beside plain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfprompt.api.comparison import budgeted
from dfprompt.api.evaluation import evaluate
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import MINI, load_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.errors import ConfigError
from dfprompt.evaluation.methods import Method, Plain, PolicyMethod
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import SamplingSettings
from dfprompt.policy.folders import keep_restraint
from dfprompt.policy.restraint import Point, Restraint
from dfprompt.statistics.comparison import Comparison, compare_scores

BIASES = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def measure_restraint(
    folder: str | Path,
    output: str | Path,
    *,
    prompts: str | Path | Sequence[str | PlainPrompt] = MINI,
    count: int = 64,
    seeds: Sequence[int] = (0, 1),
    biases: Sequence[float] = BIASES,
    pipeline: str | Path | ImagePipeline = MINI,
    rewards: Sequence[str] = (),
    judges: Sequence[str] = (),
    keep: bool = True,
    **options: Any,
) -> Restraint:
    """Measure what each end bias keeps of a policy's gain; with `keep` into its policy.json.

    `prompts` are prompts of validation: a file, a list, or "mini" (`count` of its validation prompts). The
    first reward is what is gained, the first judge the fidelity. `output` is a folder of evaluation; the same
    one again goes on. `options` are further ones of `evaluate`. Raises ConfigError for a policy without any
    gain, and where nothing could be scored; what `evaluate` raises.

    >>> # curve = measure_restraint("run/policy", "curve", seeds=range(4))
    >>> # curve.bias(0.1)
    """
    loaded = pipeline if isinstance(pipeline, ImagePipeline) else load_pipeline(pipeline)
    chosen = make_mini_prompts(count, part="validation") if prompts == MINI else prompts
    policy = load_policy(folder)
    plain = budgeted(SamplingSettings(), policy, loaded)
    names = {bias: f"bias-{bias:g}" for bias in biases}
    methods: list[str | Method] = [Plain()]
    methods += [
        PolicyMethod(policy, dataclasses.replace(plain, end_bias=bias), name=name)
        for bias, name in names.items()
    ]
    run = evaluate(
        chosen, methods, output, seeds=seeds, pipeline=loaded, rewards=rewards, judges=judges,
        validation_images=0, **options,
    )  # fmt: skip
    named: dict[str, str] = {}
    for line in run.summary.scores:
        named.setdefault(line.role, line.score)
    curve = Restraint(tuple(_point(bias, name, run.outcome.rows, named) for bias, name in names.items()))
    if keep:
        keep_restraint(Path(folder), curve)
    return curve


def _point(bias: float, method: str, rows: Sequence[Row], named: Mapping[str, str]) -> Point:
    reward, fidelity = (_over_plain(rows, method, named.get(role, "")) for role in ("reward", "judge"))
    mine = {row.prompt_id: row for row in rows if row.method == method}
    plain = {row.prompt_id: row for row in rows if row.method == PLAIN}
    alone = [row.df_prompt == plain[key].df_prompt for key, row in mine.items() if key in plain]
    return Point(
        bias,
        reward.difference,
        (reward.interval.low, reward.interval.high),
        fidelity.difference,
        (fidelity.interval.low, fidelity.interval.high),
        sum(alone) / max(1, len(alone)),
    )


def _over_plain(rows: Sequence[Row], method: str, score: str) -> Comparison:
    values = [
        {
            (row.prompt_id, row.seed): row.scores[score]
            for row in rows
            if row.method == each and score in row.scores
        }
        for each in (method, PLAIN)
    ]
    found = compare_scores(*values)
    if found is None:
        raise ConfigError(
            f"no picture of {method} and {PLAIN} has the score {score!r}; a curve needs a reward and a judge"
        )
    return found
