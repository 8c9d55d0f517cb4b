"""Accept a rewrite, or leave the prompt alone: one probe picture and a fidelity judge, with a risk that
holds.

A rewrite is accepted where its probe shows no more lost, by the judge, than a threshold; else the prompt
stays plain. The threshold is calibrated on an evaluation with at least two pictures per prompt: the first one
is the probe, the second says whether something was lost. Never by the reward: it does not see what was asked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote
from dfprompt.measurement.rows import PLAIN, Row
from dfprompt.statistics.risk import Choice, choose_threshold

_ROUNDING = 1e-6


@dataclass(frozen=True)
class Probed:
    """A prompt's probe and its other picture: what each lost against the plain picture of the same noise."""

    prompt_id: str
    probe: float
    other: float

    @property
    def lost(self) -> bool:
        """Whether the other picture shows less of what was asked than the plain one."""
        return self.other > _ROUNDING


def read_probes(rows: Iterable[Row], method: str, judge: str) -> list[Probed]:
    """Each prompt of an evaluation with its first two seeds: what `method` lost in the score `judge`."""
    scores: dict[str, dict[tuple[str, int], float]] = {method: {}, PLAIN: {}}
    for row in rows:
        if row.method in scores and judge in row.scores:
            scores[row.method][row.prompt_id, row.seed] = row.scores[judge]
    losses: dict[str, list[float]] = {}
    for key in sorted(scores[method].keys() & scores[PLAIN].keys()):
        losses.setdefault(key[0], []).append(scores[PLAIN][key] - scores[method][key])
    return [Probed(name, first, other[0]) for name, (first, *other) in losses.items() if other]


def calibrate_gate(
    rows: Iterable[Row], method: str, judge: str, limit: float, *, error: float = 0.05
) -> Choice:
    """The threshold on a probe's loss at which at most `limit` of prompts like these are accepted and lose
    something.

    Holds with probability 1 - error, by learn then test. Raises ConfigError where no prompt has two pictures
    of both the method and plain, scored by the judge.
    """
    probes = read_probes(rows, method, judge)
    if not probes:
        raise ConfigError(
            f"no prompt has two pictures of {quote(method)} and of {PLAIN} with the score {quote(judge)}; "
            "evaluate both with --seeds 2 and that judge"
        )
    return choose_threshold(
        [each.probe for each in probes], [each.lost for each in probes], limit, error=error
    )


def risk_coverage(probes: Iterable[Probed]) -> list[tuple[float, float, float]]:
    """The risk-coverage curve: threshold, share accepted, share accepted that lost something; boldest last.

    >>> risk_coverage([Probed("a", 0.0, 0.0), Probed("b", 0.5, 0.5)])
    [(0.0, 0.5, 0.0), (0.5, 1.0, 0.5)]
    """
    found = list(probes)
    curve = []
    for threshold in sorted({each.probe for each in found}):
        accepted = [each for each in found if each.probe <= threshold]
        share = len(accepted) / len(found)
        curve.append((threshold, share, sum(each.lost for each in accepted) / len(found)))
    return curve
