"""A risk that holds: the boldest threshold whose losses stay below a limit, with a stated probability.

Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052): every threshold is a hypothesis that its risk is
above the limit; those from the safest on are tested in a row at the whole error rate (fixed-sequence testing,
section 3.2), until one is not rejected. For losses of 0 or 1 the binomial tail is an exact p-value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote

ERROR = 0.05
"""How often, at most, a calibration may give a bound that does not hold."""


@dataclass(frozen=True)
class Choice:
    """The threshold that was chosen (None: none is safe enough), with what was seen there.

    `accepted` and `lost` count calibration prompts of `total`; `bound` is the upper confidence bound of the
    risk, the share of all prompts that are accepted and lose something.
    """

    threshold: float | None
    accepted: int
    lost: int
    total: int
    bound: float

    @property
    def coverage(self) -> float:
        """The share of the calibration prompts that is accepted."""
        return self.accepted / self.total

    @property
    def coverage_interval(self) -> tuple[float, float]:
        """The 95 % interval of that share among all prompts (Clopper and Pearson 1934)."""
        left = self.total - self.accepted
        return 1 - risk_bound(left, self.total, ERROR / 2), risk_bound(self.accepted, self.total, ERROR / 2)

    def to_json(self) -> dict[str, Any]:
        """Return the fields, coverage and its interval."""
        interval = list(self.coverage_interval)
        return {**asdict(self), "coverage": self.coverage, "coverage_interval": interval}


@dataclass(frozen=True)
class RiskCurve:
    """The risk-coverage curve of calibration prompts: what accepting up to each threshold would have meant.

    `points` are (threshold, accepted, lost), the thresholds rising and the counts with them, of `total`
    prompts; the score `judge` says what is lost.

    >>> RiskCurve("fidelity", 300, ((0.0, 280, 0), (0.5, 300, 12))).choose(0.02).accepted
    280
    """

    judge: str
    total: int
    points: tuple[tuple[float, int, int], ...]

    def __post_init__(self) -> None:
        columns = list(zip(*self.points, strict=True)) or [(), (), ()]
        rising = all(list(column) == sorted(column) for column in columns)
        within = all(0 <= lost <= accepted <= self.total for _, accepted, lost in self.points)
        finite = all(math.isfinite(threshold) for threshold, *_ in self.points)
        if not (self.judge and rising and within and finite and self.points):
            raise ConfigError(f"a risk-coverage curve needs rising points and a judge, not {quote(self)}")

    def choose(self, limit: float, error: float = ERROR) -> Choice:
        """Return the boldest threshold at which at most `limit` of prompts are accepted and lose something.

        Holds with probability 1 - error over calibration sets. Raises ConfigError unless both lie between 0
        and 1.
        """
        for name, value in (("the risk", limit), ("the error", error)):
            if not 0 < value < 1:
                raise ConfigError(f"{name} must be above 0 and below 1, not {quote(value)}")
        best = Choice(None, 0, 0, self.total, 0.0)
        for threshold, accepted, lost in self.points:
            if binomial_tail(lost, self.total, limit) > error:
                break
            best = Choice(threshold, accepted, lost, self.total, risk_bound(lost, self.total, error))
        return best

    def to_json(self) -> dict[str, Any]:
        """Return judge, total and points, as they are kept in policy.json."""
        return {"judge": self.judge, "total": self.total, "points": [list(point) for point in self.points]}


def make_curve(scores: Sequence[float], lost: Sequence[bool], judge: str) -> RiskCurve:
    """Return the curve of calibration prompts: how bad each probe looks, and whether its other picture lost
    something.

    >>> make_curve([0.0, 0.5, 0.0], [False, True, False], "fidelity").points
    ((0.0, 2, 0), (0.5, 3, 1))
    """
    if len(scores) != len(lost) or not scores:
        raise ConfigError(f"{len(scores)} scores need as many losses, got {len(lost)}; at least one")
    if any(math.isnan(score) for score in scores):
        raise ConfigError("a score is no number: its prompt cannot be calibrated with; leave it out")
    points = []
    for threshold in sorted(set(scores)):
        accepted = [bad for score, bad in zip(scores, lost, strict=True) if score <= threshold]
        points.append((threshold, len(accepted), sum(accepted)))
    return RiskCurve(judge, len(scores), tuple(points))


def read_curve(given: Any) -> RiskCurve:
    """Return the curve that `to_json` gave; raises ConfigError for anything else."""
    try:
        if not isinstance(given, Mapping) or not isinstance(given["judge"], str):
            raise ValueError("judge, total and points are needed")
        points = [(float(where), _count(accepted), _count(lost)) for where, accepted, lost in given["points"]]
        return RiskCurve(given["judge"], _count(given["total"]), tuple(points))
    except (TypeError, ValueError, KeyError) as error:
        raise ConfigError(f"this is no risk-coverage curve ({error}): {quote(given)}") from error


def _count(value: Any) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no count")
    return value


def binomial_tail(count: int, total: int, risk: float) -> float:
    """The probability of at most `count` losses among `total` where each has probability `risk`.

    >>> binomial_tail(0, 10, 0.5) == 0.5**10, binomial_tail(10, 10, 0.5)
    (True, 1.0)
    """
    if count >= total:
        return 1.0
    if not 0 < risk < 1:
        return float(risk <= 0)
    logs = (
        math.lgamma(total + 1)
        - math.lgamma(at + 1)
        - math.lgamma(total - at + 1)
        + at * math.log(risk)
        + (total - at) * math.log1p(-risk)
        for at in range(count + 1)
    )
    return min(1.0, math.fsum(map(math.exp, logs)))


def risk_bound(count: int, total: int, error: float) -> float:
    """The risk that `count` losses among `total` exclude with probability 1 - error (Clopper and Pearson
    1934).

    >>> round(risk_bound(0, 100, 0.05), 4)
    0.0295
    """
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if binomial_tail(count, total, middle) > error else (low, middle)
    return high
