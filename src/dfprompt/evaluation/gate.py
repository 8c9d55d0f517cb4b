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
from dfprompt.statistics.risk import RiskCurve, make_curve

_DIGITS = 6  # a share of what was asked, as floating point has it


@dataclass(frozen=True)
class Probed:
    """A prompt's probe and its other picture: what each lost against the plain picture of the same noise."""

    prompt_id: str
    probe: float
    other: float

    @property
    def lost(self) -> bool:
        """Whether the other picture shows less of what was asked than the plain one."""
        return self.other > 0


def lost_on(plain: Row, other: Row, judge: str) -> float | None:
    """What a picture lost against the plain one in the score `judge`; None where either has no score."""
    if judge not in plain.scores or judge not in other.scores:
        return None
    return round(plain.scores[judge] - other.scores[judge], _DIGITS)


def read_probes(rows: Iterable[Row], method: str, judge: str) -> list[Probed]:
    """Each prompt of an evaluation with its first two seeds: what `method` lost in the score `judge`."""
    found: dict[str, dict[tuple[str, int], Row]] = {method: {}, PLAIN: {}}
    for row in rows:
        if row.method in found:
            found[row.method][row.prompt_id, row.seed] = row
    losses: dict[str, list[float]] = {}
    for key in sorted(found[method].keys() & found[PLAIN].keys()):
        loss = lost_on(found[PLAIN][key], found[method][key], judge)
        if loss is not None:
            losses.setdefault(key[0], []).append(loss)
    return [Probed(name, first, other[0]) for name, (first, *other) in losses.items() if other]


def measure_curve(rows: Iterable[Row], method: str, judge: str) -> RiskCurve:
    """The risk-coverage curve of a method over an evaluation's prompts.

    Raises ConfigError where no prompt has two pictures of both the method and plain, scored by the judge.
    """
    probes = read_probes(rows, method, judge)
    if not probes:
        raise ConfigError(
            f"no prompt has two pictures of {quote(method)} and of {PLAIN} with the score {quote(judge)}; "
            "evaluate both with --seeds 2 and that judge"
        )
    return make_curve([each.probe for each in probes], [each.lost for each in probes], judge)
