"""A risk that holds: the boldest threshold whose losses stay below a limit, with a stated probability.

Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052): every threshold is a hypothesis that its risk is
above the limit; those from the safest on are tested in a row at the whole error rate (fixed-sequence testing,
section 3.2), until one is not rejected. For losses of 0 or 1 the binomial tail is an exact p-value.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote


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


def choose_threshold(
    scores: Sequence[float], lost: Sequence[bool], limit: float, *, error: float = 0.05
) -> Choice:
    """The largest threshold at which prompts with a score of at most it lose something rarely enough.

    `scores` say of each calibration prompt how bad its probe looks, `lost` whether its other picture lost
    something. With probability 1 - error over calibration sets, the share of prompts that are accepted and
    lose something is at most `limit`; above the chosen threshold a prompt is left as it is.

    >>> choose_threshold([0.0] * 300 + [1.0] * 20, [False] * 300 + [True] * 20, 0.02).threshold
    0.0
    """
    if len(scores) != len(lost) or not scores:
        raise ConfigError(f"{len(scores)} scores need as many losses, got {len(lost)}; at least one")
    for name, value in (("the risk", limit), ("the error", error)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} must be above 0 and below 1, not {quote(value)}")
    if any(math.isnan(score) for score in scores):
        raise ConfigError("a score is no number: its prompt cannot be calibrated with; leave it out")
    best = Choice(None, 0, 0, len(scores), 0.0)
    for threshold in sorted(set(scores)):
        accepted = [bad for score, bad in zip(scores, lost, strict=True) if score <= threshold]
        if binomial_tail(sum(accepted), len(scores), limit) > error:
            break
        bound = risk_bound(sum(accepted), len(scores), error)
        best = Choice(threshold, len(accepted), sum(accepted), len(scores), bound)
    return best
