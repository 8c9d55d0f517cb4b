"""What curation did: what each filter removed, and whether kept modifiers really are better."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfprompt.data.confidence import Measured

_RESAMPLES = 2000
_DRAWN_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Interval:
    """A mean with its 95 % bootstrap interval; resampled by short prompt, so that its rows stay together."""

    mean: float
    low: float
    high: float
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Mean, low, high, rows."""
        return {
            "mean": round(self.mean, 6),
            "low": round(self.low, 6),
            "high": round(self.high, 6),
            "rows": self.rows,
        }

    def __str__(self) -> str:
        return f"{self.mean:+.4f} [{self.low:+.4f}, {self.high:+.4f}]"


@dataclass(frozen=True)
class Report:
    """The counts of a curation: every row read is removed, kept or rejected, and in one of the sets.

    `gains` compares the picture with modifiers to the plain one, score by score, for the kept and the
    rejected rows.
    """

    read: int
    removed: Mapping[str, int]
    kept: int
    rejected: int
    sets: Mapping[str, Mapping[str, int]]
    confidence: Sequence[float] = ()
    gains: Mapping[str, Mapping[str, Interval]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Everything, with the distribution of confidence as counts of tenths."""
        tenths = Counter(min(9, int(each * 10 + 1e-9)) for each in self.confidence)
        return {
            "read": self.read,
            "removed": dict(self.removed),
            "kept": self.kept,
            "rejected": self.rejected,
            "sets": {name: dict(counts) for name, counts in self.sets.items()},
            "confidence": [tenths.get(tenth, 0) for tenth in range(10)],
            "gains": {
                name: {group: interval.to_json() for group, interval in groups.items()}
                for name, groups in self.gains.items()
            },
        }

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.read} rows read"]
        lines += [f"  {count} removed: {name}" for name, count in self.removed.items()]
        if self.confidence:
            lines.append(f"  {self.rejected} rejected: confidence below sigma (they train to end at once)")
        lines.append(f"  {self.kept} kept")
        for name, counts in self.sets.items():
            lines.append(f"{name}: {counts['kept']} kept, {counts['rejected']} rejected")
        for name, groups in self.gains.items():
            shown = ", ".join(f"{group} {interval}" for group, interval in groups.items())
            lines.append(f"{name}, with modifiers minus without: {shown}")
        return "\n".join(lines)


def compare_groups(
    measured: Sequence[Measured], shorts: Sequence[str], kept: Sequence[bool], *, seed: int = 0
) -> dict[str, dict[str, Interval]]:
    """Mean gain of each score for kept and rejected rows, 95 % intervals resampling short prompts."""
    if not measured:
        return {}
    columns = {
        "aesthetic": [np.mean(each.aesthetic_gain) for each in measured],
        "clip": [np.mean(each.clip_gain) for each in measured],
    }
    for name in measured[0].judge_gains:
        columns[name] = [np.mean(each.judge_gains[name]) for each in measured]
    groups = {"kept": np.asarray(kept, dtype=bool), "rejected": ~np.asarray(kept, dtype=bool)}
    names = np.asarray(shorts, dtype=object)
    return {
        name: {
            group: bootstrap_mean(np.asarray(values, dtype=float)[chosen], names[chosen].tolist(), seed=seed)
            for group, chosen in groups.items()
            if chosen.any()
        }
        for name, values in columns.items()
    }


def bootstrap_mean(values: np.ndarray, clusters: Sequence[str], *, seed: int = 0) -> Interval:
    """The mean of values and its 95 % percentile interval, resampling whole clusters.

    >>> print(bootstrap_mean(np.array([1.0, 1.0]), ["a", "b"]))
    +1.0000 [+1.0000, +1.0000]
    """
    order = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    index = np.array([order[cluster] for cluster in clusters])
    sums = np.bincount(index, weights=values, minlength=len(order))
    counts = np.bincount(index, minlength=len(order))
    generator = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // len(order))
    means: list[float] = []
    while len(means) < _RESAMPLES:
        drawn = generator.integers(len(order), size=(min(at_once, _RESAMPLES - len(means)), len(order)))
        means += (sums[drawn].sum(1) / counts[drawn].sum(1)).tolist()
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(float(values.mean()), float(low), float(high), len(values))
