"""Restraint: how much of what a policy gains to give up for leaving prompts more as they are.

A bias towards ending makes a policy append less, and leave more prompts alone. How much of its gain that
costs is another curve for every policy, so it is measured once, on validation prompts, and kept with the
policy: a restraint of R then means the bias at which 1 - R of the gain over the plain prompts is expected to
stay.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote

# A bias at which nothing is appended whatever a policy thinks: a restraint of 1.
SILENT = 60.0


@dataclass(frozen=True)
class Point:
    """What was measured at one end bias, on validation prompts, minus the plain pictures of the same noise.

    `reward` and `fidelity` are differences with their 95 % intervals; `alone` is the share of prompts left
    alone.
    """

    end_bias: float
    reward: float
    reward_interval: tuple[float, float]
    fidelity: float
    fidelity_interval: tuple[float, float]
    alone: float


@dataclass(frozen=True)
class Restraint:
    """The measured curve of a policy, from the smallest end bias on, the first one 0.

    >>> none = (0.0, 0.0)
    >>> curve = Restraint((Point(0, 2.0, none, -0.02, none, 0.1), Point(4, 1.0, none, 0.0, none, 0.6)))
    >>> curve.bias(0.25)
    2.0
    """

    points: tuple[Point, ...]

    def __post_init__(self) -> None:
        biases = [point.end_bias for point in self.points]
        if not biases or biases[0] != 0 or biases != sorted(set(biases)):
            raise ConfigError(f"a restraint curve needs rising end biases from 0 on, not {quote(biases)}")
        if not self.points[0].reward > 0:
            raise ConfigError(
                f"the policy gains {self.points[0].reward:.3g} over the plain prompts: there is nothing to "
                "share out"
            )

    def kept(self) -> list[float]:
        """The share of the gain kept at each point, never rising: neighbours out of order are averaged."""
        blocks: list[tuple[float, int]] = []
        for point in self.points:
            blocks.append((point.reward / self.points[0].reward, 1))
            while len(blocks) > 1 and blocks[-2][0] < blocks[-1][0]:
                (high, many), (low, few) = blocks.pop(), blocks.pop()
                blocks.append(((high * many + low * few) / (many + few), many + few))
        return [share for share, count in blocks for _ in range(count)]

    def bias(self, restraint: float) -> float:
        """The end bias of a restraint from 0 (as trained) to 1 (everything is left alone).

        Between measured points linear in the share kept. Raises ConfigError for another number.
        """
        if not (math.isfinite(restraint) and 0 <= restraint <= 1):
            raise ConfigError(
                f"restraint must be from 0 (as trained) to 1 (left alone), not {quote(restraint)}"
            )
        if restraint in (0, 1):
            return SILENT if restraint else 0.0
        shares, biases = [*self.kept(), 0.0], [*(point.end_bias for point in self.points), SILENT]
        wanted = (1 - restraint) * shares[0]
        for at in range(1, len(shares)):
            if shares[at] <= wanted:
                above, below = shares[at - 1], shares[at]
                part = (above - wanted) / (above - below) if above > below else 1.0
                return biases[at - 1] + part * (biases[at] - biases[at - 1])
        return SILENT

    def to_json(self) -> list[dict[str, Any]]:
        """The points as JSON objects, as they are kept in policy.json."""
        return [asdict(point) for point in self.points]


def read_restraint(rows: Any) -> Restraint:
    """The curve that `to_json` gave; raises ConfigError for anything else."""
    try:
        return Restraint(tuple(_point(row) for row in rows))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise ConfigError(f"this is no restraint curve ({error}): {quote(rows)}") from error


def _point(row: Mapping[str, Any]) -> Point:
    def number(value: Any) -> float:
        if isinstance(value, bool) or not math.isfinite(float(value)):
            raise ValueError(f"{value!r} is no finite number")
        return float(value)

    def interval(values: Sequence[Any]) -> tuple[float, float]:
        low, high = values
        return number(low), number(high)

    return Point(
        number(row["end_bias"]),
        number(row["reward"]),
        interval(row["reward_interval"]),
        number(row["fidelity"]),
        interval(row["fidelity_interval"]),
        number(row["alone"]),
    )
