"""What restraint costs a policy and how a probe tells its losses, measured beside plain and kept with it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from dfprompt.api.companions import MINI
from dfprompt.api.comparison import budgeted
from dfprompt.api.evaluation import EvaluationRun, evaluate
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import open_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.errors import ConfigError
from dfprompt.evaluation.gate import measure_curve
from dfprompt.evaluation.methods import Method, Plain, PolicyMethod
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.policy import SamplingSettings
from dfprompt.policy.folders import keep_measured
from dfprompt.policy.restraint import Point, Restraint
from dfprompt.requests.doors import front_door
from dfprompt.requests.evaluate import EvaluateRequest
from dfprompt.requests.learn import RestrainRequest
from dfprompt.statistics.comparison import Comparison, compare_scores
from dfprompt.statistics.risk import RiskCurve

BIASES = (0.0, 2.0, 3.0, 4.0, 5.0, 6.0)
_FOR_CURVE, _FOR_RISK = 64, 300


@front_door(RestrainRequest, "policy", "output")
def measure_restraint(
    request: RestrainRequest, *, biases: Sequence[float] = BIASES, keep: bool = True
) -> Restraint:
    """Measure what each end bias keeps of a policy's gain; with `keep` into its policy.json.

    `prompts` are prompts of validation: a file, a list, or "mini" (`count` of its validation prompts). The
    first reward is what is gained, the first judge the fidelity. `output` is a folder of evaluation; the same
    one again goes on. Raises ConfigError for a policy without any gain, and where nothing could be scored;
    what `evaluate` raises.

    >>> # curve = measure_restraint("run/policy", "curve", seeds=range(4))
    >>> # curve.bias(0.1)
    """
    names = {bias: f"bias-{bias:g}" for bias in biases}
    run = _measure(request, names, _FOR_CURVE)
    named = _first_scores(run)
    curve = Restraint(tuple(_point(bias, name, run.outcome.rows, named) for bias, name in names.items()))
    if keep:
        keep_measured(Path(request.policy), "restraint", curve)
    return curve


@front_door(RestrainRequest, "policy", "output")
def measure_risk(request: RestrainRequest, *, keep: bool = True) -> RiskCurve:
    """Measure a policy's risk-coverage curve, by the first judge; with `keep` into its policy.json.

    The first two of `seeds` are each prompt's probe and its other picture. Raises ConfigError where no prompt
    has both, judged; what `evaluate` raises.

    >>> # measure_risk("run/policy", "risk").choose(0.02).coverage
    """
    run = _measure(request, {0.0: "policy"}, _FOR_RISK)
    curve = measure_curve(run.outcome.rows, "policy", _first_scores(run).get("judge", "fidelity"))
    if keep:
        keep_measured(Path(request.policy), "risk", curve)
    return curve


def _measure(request: RestrainRequest, names: Mapping[float, str], usual: int) -> EvaluationRun:
    """Evaluate a policy at several end biases beside plain."""
    loaded, prompts = open_pipeline(request), request.prompts
    if prompts == MINI:
        prompts = make_mini_prompts(request.count or usual, part="validation")
    policy = load_policy(request.policy, device=request.device)
    drawn = budgeted(SamplingSettings(), policy, loaded)
    steps = loaded.resolve(request.settings).num_inference_steps
    methods: list[Method] = [Plain()]
    for bias, name in names.items():
        sampling = dataclasses.replace(drawn, end_bias=bias)
        methods.append(PolicyMethod(policy, sampling, name=name, num_inference_steps=steps))
    asked = {name: getattr(request, name) for name in EvaluateRequest.model_fields if hasattr(request, name)}
    asked |= {"prompts": prompts, "methods": methods, "pipeline": loaded, "policy": None, "count": 1}
    return evaluate(EvaluateRequest(**asked, validation_images=0))


def _first_scores(run: EvaluationRun) -> dict[str, str]:
    """The first score of every role."""
    named: dict[str, str] = {}
    for line in run.summary.scores:
        named.setdefault(line.role, line.score)
    return named


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
