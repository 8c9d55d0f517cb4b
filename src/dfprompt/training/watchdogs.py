"""Watchdogs of stage 2: collapse, unstable rewards, lost meaning, gates that never act.

They look at what a run logs anyway and say in words what went wrong; what they remember is plain numbers and
goes into checkpoints, so that a resumed run is watched as one that was not stopped.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean, median, pvariance
from typing import Any, Literal

from pydantic import Field

from dfprompt.config import Config

Action = Literal["off", "warn", "stop"]
MEANING = "validation_meaning"
_GATES = "binds/"
_FIGURES = ("reward", "reward_spread", "default_controls", "kl/text")
_ENTROPIES = ("entropy/range", "entropy/weight")
_ARTEFACTS = "scores/judge/artefacts"


class WatchdogSettings(Config):
    """What is watched, when it counts as wrong, and what then happens: off, warn or stop."""

    window: int = Field(default=10, ge=2)
    """Steps over which figures are averaged; before so many nothing is said, lost meaning apart."""
    patience: int = Field(default=3, ge=1)
    """Steps in a row a figure must be wrong; lost meaning is measured seldom and counts at once."""
    collapse: Action = "warn"
    """All prompts get the same: words, or controls."""
    distinct: float = Field(default=0.25, ge=0, le=1)
    """Fewest different modifiers in a window, as a share of those in the first one."""
    similarity: float = Field(default=0.8, gt=0, le=1)
    """Highest mean overlap (Jaccard) of the modifiers of two different prompts."""
    default_share: float = Field(default=0.98, gt=0, le=1)
    """Highest share of modifiers with full range and weight 1, where heads are trained."""
    entropy: float = Field(default=0.02, ge=0)
    """Lowest entropy of a head, in nats."""
    unstable: Action = "warn"
    """The reward or the divergence from stage 1 jumps or runs away."""
    variance: float = Field(default=6.0, gt=1)
    """Highest variance of the steps' mean rewards in a window, in that of the first one (or its luck's)."""
    fall: float = Field(default=5.0, gt=0)
    """How far a window's mean reward may fall below the best one, in its standard errors."""
    spike: float = Field(default=6.0, gt=1)
    """Highest divergence of the words from stage 1, in medians of the window before."""
    spike_above: float = Field(default=0.5, ge=0)
    """Divergences below so many nats per word are no spikes."""
    meaning: Action = "stop"
    """The pictures no longer show what the plain prompts say; needs `reward.meaning`."""
    meaning_fall: float = Field(default=0.15, gt=0)
    """How far that score may fall below stage 1's, both against the plain pictures'."""
    artefacts: Action = "warn"
    """The pictures look less and less like real ones; needs a judge of that name in `reward.judges`."""
    artefacts_rise: float = Field(default=4.0, gt=0)
    """How far its window's mean may rise above the first one, in the standard errors of the first."""
    gates: Action = "warn"
    """A gate that never acts, or always."""


@dataclass(frozen=True)
class Alert:
    """What a watchdog found; `stop` says whether the run should end."""

    name: str
    message: str
    stop: bool


class Watchdogs:
    """Looks at each step's rollout and figures; an alert is given once, until it has cleared."""

    def __init__(self, settings: WatchdogSettings, *, heads: bool = True) -> None:
        self.settings, self.heads = settings, heads
        self._steps: list[dict[str, Any]] = []  # of the window, newest last
        self._first: dict[str, float] = {}  # of the first whole window
        self._best: float | None = None
        self._meaning: float | None = None
        self._wrong: dict[str, int] = {}
        self._given: set[str] = set()

    def look(
        self, modifiers: Sequence[tuple[str, Sequence[str]]], row: Mapping[str, float]
    ) -> tuple[dict[str, float], list[Alert]]:
        """Take a step: (prompt, modifiers) of its rewrites and its figures; returns figures and alerts."""
        self._remember(modifiers, row)
        found: dict[str, float] = {}
        problems: dict[str, tuple[Action, str]] = {}
        if MEANING in row:
            self._look_at_meaning(row[MEANING], found, problems)
        if len(self._steps) == self.settings.window:
            self._look_at_collapse(found, problems)
            self._look_at_stability(found, problems)
            self._look_at_gates(problems)
            self._look_at_artefacts(found, problems)
        return {f"watch/{name}": value for name, value in found.items()}, self._alerts(problems, row)

    def set_meaning(self, stage_one: float) -> None:
        """Say how stage 1's pictures compare with the plain ones; without it the first measure counts."""
        self._meaning = stage_one

    def state(self) -> dict[str, Any]:
        """What has to be remembered, as JSON values."""
        return {
            "steps": self._steps,
            "first": self._first,
            "best": self._best,
            "meaning": self._meaning,
            "wrong": self._wrong,
            "given": sorted(self._given),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Put back what `state` gave. Raises KeyError, TypeError or ValueError for anything else."""
        self._steps = [_read_step(each) for each in state["steps"]]
        self._first = _numbers(state["first"])
        self._best, self._meaning = (
            None if state[name] is None else float(state[name]) for name in ("best", "meaning")
        )
        self._wrong = {name: int(count) for name, count in state["wrong"].items()}
        self._given = {name for name in state["given"] if name in self._wrong}

    def _remember(self, modifiers: Sequence[tuple[str, Sequence[str]]], row: Mapping[str, float]) -> None:
        watched = (name for name in row if name.startswith(_GATES) or name == _ARTEFACTS)
        kept = {name: float(row[name]) for name in watched}
        kept |= {name: float(row.get(name, 0.0)) for name in _FIGURES}
        kept |= {name: float(row.get(name, math.inf)) for name in _ENTROPIES}
        kept["rows"] = float(len(modifiers))
        kept["similarity"] = similarity(modifiers)
        words = sorted({text for _, texts in modifiers for text in texts})
        self._steps = [*self._steps, {**kept, "words": words}][-self.settings.window :]

    def _mean(self, name: str) -> float:
        return fmean(step[name] for step in self._steps)

    def _look_at_collapse(self, found: dict[str, float], problems: dict[str, tuple[Action, str]]) -> None:
        settings, action = self.settings, self.settings.collapse
        distinct = len({word for step in self._steps for word in step["words"]})
        first = self._first.setdefault("distinct", float(max(distinct, 1)))
        found |= {"distinct": float(distinct), "similarity": self._mean("similarity")}
        if distinct < settings.distinct * first:
            problems["few words"] = (
                action,
                f"{distinct} different ones in a window, {first:.0f} at first",
            )
        if found["similarity"] > settings.similarity:
            problems["same words"] = action, f"two prompts share {found['similarity']:.0%} of their modifiers"
        if not self.heads:
            return
        found["default_share"] = self._mean("default_controls")
        if found["default_share"] > settings.default_share:
            problems["same controls"] = (
                action,
                f"{found['default_share']:.0%} are the default",
            )
        for head in ("range", "weight"):
            value = self._mean(f"entropy/{head}")
            if value < settings.entropy:
                problems[f"{head} head"] = action, f"its entropy is {value:.3g} nats: it draws one class only"

    def _look_at_stability(self, found: dict[str, float], problems: dict[str, tuple[Action, str]]) -> None:
        settings, action = self.settings, self.settings.unstable
        variance = pvariance([step["reward"] for step in self._steps])
        # Never below what the luck of a step's rows alone makes of a steady policy.
        luck = fmean(step["reward_spread"] ** 2 / max(step["rows"], 1.0) for step in self._steps)
        first = self._first.setdefault("variance", max(variance, luck, 1e-12))
        mean = self._mean("reward")
        self._best = mean if self._best is None else max(self._best, mean)
        error = math.sqrt(max(luck, variance) / len(self._steps))
        fall = (self._best - mean) / error if error else 0.0
        before = median(step["kl/text"] for step in self._steps[:-1])
        now = self._steps[-1]["kl/text"]
        found |= {"reward_variance": variance / first, "reward_fall": fall}
        found["kl_spike"] = now / before if before > 0 else 0.0
        if found["reward_variance"] > settings.variance:
            problems["reward variance"] = action, f"it is {found['reward_variance']:.3g} times that at first"
        if fall > settings.fall:
            problems["falling reward"] = action, f"{mean:.4g}, {fall:.3g} standard errors below its best"
        if now > settings.spike_above and found["kl_spike"] > settings.spike:
            problems["divergence"] = (
                action,
                f"{now:.3g} nats per word, {found['kl_spike']:.3g} times what was usual",
            )

    def _look_at_meaning(
        self, value: float, found: dict[str, float], problems: dict[str, tuple[Action, str]]
    ) -> None:
        if self._meaning is None:
            self._meaning = value
        found["meaning_fall"] = self._meaning - value
        if found["meaning_fall"] > self.settings.meaning_fall:
            message = f"pictures show {found['meaning_fall']:.3g} less of their plain prompt than in stage 1"
            problems["lost meaning"] = self.settings.meaning, message

    def _look_at_gates(self, problems: dict[str, tuple[Action, str]]) -> None:
        for name in (each for each in self._steps[-1] if each.startswith(_GATES)):
            share = fmean(step.get(name, 0.0) for step in self._steps)
            if share in (0.0, 1.0):
                how = "never acts" if share == 0 else "always acts"
                problems[f"{name.removeprefix(_GATES)}"] = (
                    self.settings.gates,
                    f"the gate {how}: calibrate it",
                )

    def _look_at_artefacts(self, found: dict[str, float], problems: dict[str, tuple[Action, str]]) -> None:
        values = [step[_ARTEFACTS] for step in self._steps if _ARTEFACTS in step]
        if len(values) < len(self._steps):
            return
        first = self._first.setdefault("artefacts", fmean(values))
        error = self._first.setdefault("artefacts_error", (pvariance(values) / len(values)) ** 0.5)
        found["artefacts_rise"] = fmean(values) - first
        if error and found["artefacts_rise"] > self.settings.artefacts_rise * error:
            problems["artefacts"] = (
                self.settings.artefacts,
                f"pictures look less like real ones: {fmean(values):.3g}, {first:.3g} in the first window",
            )

    def _alerts(self, problems: Mapping[str, tuple[Action, str]], row: Mapping[str, float]) -> list[Alert]:
        """Those that are wrong for long enough, and were not said yet; the rest may be said again."""
        measured = MEANING in row
        for name in [each for each in self._wrong if each not in problems]:
            if name != "lost meaning" or measured:
                del self._wrong[name]
                self._given.discard(name)
        alerts = []
        for name, (action, message) in problems.items():
            self._wrong[name] = self._wrong.get(name, 0) + 1
            enough = name == "lost meaning" or self._wrong[name] >= self.settings.patience
            if enough and action != "off" and name not in self._given:
                self._given.add(name)
                alerts.append(Alert(name, message, action == "stop"))
        return alerts


def _read_step(step: Mapping[str, Any]) -> dict[str, Any]:
    """A remembered step, out of a checkpoint."""
    numbers = _numbers({name: each for name, each in step.items() if name != "words"})
    if missing := {*_FIGURES, *_ENTROPIES, "rows", "similarity"} - numbers.keys():
        raise ValueError(f"a step without {sorted(missing)[0]}")
    if not all(isinstance(word, str) for word in step["words"]):
        raise ValueError("words that are no text")
    return {**numbers, "words": list(step["words"])}


def _numbers(values: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items()}


def similarity(modifiers: Iterable[tuple[str, Sequence[str]]]) -> float:
    """The mean Jaccard overlap of the modifiers of two different prompts; nothing and nothing are the same.

    >>> similarity([("a cat", ["8k", "mist"]), ("a star", ["8k"]), ("a cat", ["8k"])])
    0.75
    """
    rows = [(prompt, {text.casefold() for text in texts}) for prompt, texts in modifiers]
    pairs = [(a, b) for (first, a), (second, b) in combinations(rows, 2) if first != second]
    return fmean(len(a & b) / len(a | b) if a | b else 1.0 for a, b in pairs) if pairs else 0.0
