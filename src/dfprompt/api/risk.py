"""A risk that holds in use: a rewrite is kept where its probe picture lost little enough.

The threshold comes from the policy's risk-coverage curve (`dfprompt restrain --risk`), by learn then test.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dfprompt.api.companions import companions_of
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.scoring import load_judges
from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.evaluation.gate import lost_on
from dfprompt.excerpt import quote
from dfprompt.measurement.measure import Measurement
from dfprompt.measurement.prompts import PlainPrompt
from dfprompt.measurement.rows import PLAIN
from dfprompt.measurement.scoreboard import Scoreboard
from dfprompt.measurement.shots import HowToDraw, Shot
from dfprompt.pipeline.image_pipeline import ImagePipeline
from dfprompt.policy import Policy, Rewrite, SamplingSettings
from dfprompt.policy.rewrite import LOST
from dfprompt.prompt import DFPrompt
from dfprompt.requests.write import OptimizeRequest
from dfprompt.statistics.risk import Choice, RiskCurve

PROBE = 4_000_000  # the probe's seed lies so far behind the first picture's


@dataclass(frozen=True)
class Gate:
    """What a limit means for a policy, and how many of its rewrites were left alone for it."""

    limit: float
    judge: str
    choice: Choice
    alone: int = 0
    rewrites: int = 0

    def sentence(self) -> str:
        """Return coverage and bound in plain words."""
        chosen, interval = self.choice, self.choice.coverage_interval
        if chosen.threshold is None:
            return (
                f"everything is left alone: no threshold on a probe is safe for a risk of {self.limit:.3g}: "
                f"of {chosen.total} calibration prompts too many lost something, or they are too few"
            )
        low, high = (f"{100 * end:.0f}" for end in interval)
        return (
            f"risk at most {100 * self.limit:.3g} %: {self.alone} of {self.rewrites} left alone; on "
            f"{chosen.total} calibration prompts {100 * chosen.coverage:.0f} % are rewritten ({low} to "
            f"{high}) and {chosen.lost} of them lose something, with 95 % confidence at most "
            f"{100 * chosen.bound:.1f} % of all"
        )

    def to_json(self) -> dict[str, Any]:
        """Return limit, judge, alone, rewrites, and the choice's fields."""
        own = {name: getattr(self, name) for name in ("limit", "judge", "alone", "rewrites")}
        return {**own, **self.choice.to_json()}


def open_gate(policy: Policy, limit: float, board: Scoreboard, sampling: SamplingSettings | None) -> Gate:
    """Return what a limit means for a policy; nothing is drawn.

    Raises ConfigError where the policy has no risk-coverage curve, or its judge is not on the board. Warns
    where rewrites are drawn otherwise than when it was measured: the bound was shown for those alone.
    """
    curve: RiskCurve | None = policy.risk
    if curve is None:
        raise ConfigError(
            f"the policy {policy.name} has no risk-coverage curve; measure one with "
            "`dfprompt restrain FOLDER --risk --output DIR`"
        )
    if curve.judge not in board.scores:
        raise ConfigError(
            f"the policy's risk was measured with the judge {quote(curve.judge)}, which is not among the "
            f"scores ({', '.join(board.scores) or 'none'}); name it with --judge"
        )
    usual = SamplingSettings(budget=sampling.budget if sampling else None)
    if sampling is not None and sampling != usual:
        warnings.warn(
            "the risk was measured with the usual way of drawing rewrites, and says nothing exact of another",
            DFPromptWarning,
            stacklevel=2,
        )
    return Gate(limit, curve.judge, curve.choose(limit))


class Prober:
    """Probes rewrites that nobody else draws, for `optimize`: a pipeline and its judges, loaded once."""

    def __init__(self, request: OptimizeRequest, policy: Policy, sampling: SamplingSettings) -> None:
        if request.max_risk is None:
            raise ConfigError("probes need a risk to hold: give --max-risk")
        self.pipeline = load_pipeline(request.pipeline, device=request.device)
        judges = request.judges or companions_of(self.pipeline).judges
        self.board = Scoreboard({}, load_judges(judges, device=request.device))
        self.gate, self.seed = open_gate(policy, request.max_risk, self.board, sampling), request.seed

    def sift(
        self, bases: Sequence[DFPrompt], found: Sequence[Sequence[Rewrite]]
    ) -> tuple[list[list[Rewrite]], Gate]:
        """Return the rewrites, those whose probe lost too much put back to their base, and the counts."""
        return gate_rewrites(self.gate, bases, found, self.pipeline, self.board, HowToDraw(), self.seed)


def gate_rewrites(
    gate: Gate,
    bases: Sequence[DFPrompt],
    found: Sequence[Sequence[Rewrite]],
    pipeline: ImagePipeline,
    board: Scoreboard,
    how: HowToDraw,
    seed: int,
) -> tuple[list[list[Rewrite]], Gate]:
    """Return the rewrites of each base, those whose probe lost too much put back to it, and the counts.

    Each base and its rewrites are drawn once on one noise, which is none of the pictures shown. A probe that
    cannot be judged counts as lost, with a warning that says why.
    """
    measurement = Measurement(pipeline, board, how=how, only=[gate.judge])
    kept: list[list[Rewrite]] = []
    for base, rewrites in zip(bases, found, strict=True):
        probed = _probe(measurement, base, rewrites, gate, seed + PROBE)
        both = zip(rewrites, probed, strict=True)
        kept.append([each if good else _left_alone(each, base) for each, good in both])
    told = [each.end == LOST for rewrites in kept for each in rewrites]
    return kept, dataclasses.replace(gate, alone=sum(told), rewrites=len(told))


def _probe(
    measurement: Measurement, base: DFPrompt, rewrites: Sequence[Rewrite], gate: Gate, seed: int
) -> list[bool]:
    """Whether each rewrite may stay."""
    if gate.choice.threshold is None or not any(each.changed for each in rewrites):
        return [not each.changed for each in rewrites]
    prompt = PlainPrompt(base.plain_text)
    words = {PLAIN: base} | {f"rewrite {number}": each.prompt for number, each in enumerate(rewrites)}
    shots = [Shot(name, prompt, each, seed, (seed,)) for name, each in words.items()]
    plain, *rows = measurement.measure(shots)
    stays = []
    for each, row in zip(rewrites, rows, strict=True):
        loss = lost_on(plain, row, gate.judge)
        if loss is None:
            reasons = "; ".join({**plain.failed, **row.failed}.values())
            warnings.warn(
                f"{quote(prompt.text)} is left alone: its probe has no {gate.judge} ({reasons})",
                DFPromptWarning,
                stacklevel=3,
            )
        stays.append(not each.changed or (loss is not None and loss <= gate.choice.threshold))
    return stays


def _left_alone(rewrite: Rewrite, base: DFPrompt) -> Rewrite:
    return dataclasses.replace(rewrite, prompt=base, modifiers=(), end=LOST)
