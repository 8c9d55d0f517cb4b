"""What curation did: what each filter removed, and whether kept modifiers really are better."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dfprompt.data.confidence import Measured
from dfprompt.statistics.intervals import Mean, mean_with_interval


@dataclass(frozen=True)
class Gain:
    """The mean over short prompts of their rows' mean gain, with the interval that every table shows."""

    found: Mean
    rows: int

    def to_json(self) -> dict[str, Any]:
        """Mean, low and high (null where there are too few prompts), prompts, rows."""
        ends = {"low": self.found.low, "high": self.found.high}
        return {
            "mean": round(self.found.mean, 6),
            **{name: None if math.isnan(end) else round(end, 6) for name, end in ends.items()},
            "prompts": self.found.units,
            "rows": self.rows,
        }

    def __str__(self) -> str:
        if math.isnan(self.found.low):
            return f"{self.found.mean:+.4f} (one prompt, too few for an interval)"
        return str(self.found)


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
    gains: Mapping[str, Mapping[str, Gain]] = field(default_factory=dict)

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
                name: {group: gain.to_json() for group, gain in groups.items()}
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
            shown = ", ".join(f"{group} {gain}" for group, gain in groups.items())
            lines.append(f"{name}, with modifiers minus without: {shown}")
        return "\n".join(lines)


def compare_groups(
    measured: Sequence[Measured], shorts: Sequence[str], kept: Sequence[bool]
) -> dict[str, dict[str, Gain]]:
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
            group: gain_of(np.asarray(values, dtype=float)[chosen], names[chosen].tolist())
            for group, chosen in groups.items()
            if chosen.any()
        }
        for name, values in columns.items()
    }


def gain_of(values: np.ndarray, shorts: Sequence[str]) -> Gain:
    """The gain of rows (N,) by their short prompts: rows of one prompt are alike, so prompts are resampled.

    >>> print(gain_of(np.array([1.0, 3.0, 2.0, 2.0]), ["a", "a", "b", "c"]))
    +2.0000 [+2.0000, +2.0000]
    """
    order = {short: number for number, short in enumerate(dict.fromkeys(shorts))}
    index = np.array([order[short] for short in shorts])
    sums, counts = np.bincount(index, weights=values), np.bincount(index)
    return Gain(mean_with_interval(sums / counts), len(values))
