"""Thresholds from the pictures a pipeline really draws: fixed ones may never bind, or always."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from dfprompt.errors import ConfigError
from dfprompt.rewards.composite import CLIP, PREFERENCE, compute_terms
from dfprompt.rewards.settings import CompositeSettings

FEWEST_IMAGES = 8


@dataclass(frozen=True)
class GateReport:
    """One threshold before and after, and the share of plain pictures it punishes (0..1)."""

    threshold_before: float
    binds_before: float
    threshold: float
    binds: float


@dataclass(frozen=True)
class Calibration:
    """The calibrated constants, the gates' reports, and each term's spread over the plain pictures.

    `spread` is the standard deviation of a term: a term with a tiny one does not steer the sum.
    """

    constants: CompositeSettings
    gates: Mapping[str, GateReport]
    spread: Mapping[str, float]
    images: int

    def summary(self) -> str:
        """A few lines for people."""
        lines = [f"{self.images} plain pictures"]
        for name, gate in self.gates.items():
            lines.append(
                f"{name}: {gate.threshold_before:.4g} binds on {gate.binds_before:.1%}; "
                f"calibrated {gate.threshold:.4g} binds on {gate.binds:.1%}"
            )
        lines += [f"{name}: standard deviation {spread:.4g}" for name, spread in self.spread.items()]
        return "\n".join(lines)


def calibrate(
    scores: Mapping[str, Tensor], constants: CompositeSettings, *, quantile: float = 0.5
) -> Calibration:
    """Set zeta and kappa to a quantile of plain pictures' scores and report how often each gate binds.

    scores: "clip" and "preference" (and "aesthetic") of plain pictures drawn by the pipeline in use, (B,).
    The thresholds become absolute. With the default, the median, half the plain pictures are punished,
    so that both gates steer from the first step on. Raises ConfigError for too few pictures.

    >>> import torch
    >>> clip = torch.arange(10) / 10
    >>> calibrate({"clip": clip}, CompositeSettings(d=0), quantile=0.25).constants.zeta
    0.225
    """
    if not 0 <= quantile <= 1:
        raise ConfigError(f"quantile must lie in 0..1, got {quantile:g}")
    count = min((len(values) for values in scores.values()), default=0)
    if count < FEWEST_IMAGES:
        raise ConfigError(f"calibration needs at least {FEWEST_IMAGES} plain pictures, got {count}")
    fields = {CLIP: "zeta", PREFERENCE: "kappa"}
    changed: dict[str, float | bool] = {}
    for name, field in fields.items():
        if name in scores:
            changed[field] = _rounded(scores[name].double().quantile(quantile).item())
            changed[f"{field}_relative"] = False
    after = constants.model_copy(update=changed)
    gates = {
        fields[name]: GateReport(
            getattr(constants, fields[name]),
            _share(constants, scores, name),
            getattr(after, fields[name]),
            _share(after, scores, name),
        )
        for name in fields
        if name in scores
    }
    terms, _ = compute_terms(after.model_copy(update={"b": 0.0}), scores)
    spread = {name: values.std().item() for name, values in terms.items()}
    return Calibration(after, gates, spread, count)


def _share(constants: CompositeSettings, scores: Mapping[str, Tensor], name: str) -> float:
    _, binds = compute_terms(constants, {name: scores[name]}, plain=scores)
    return binds[f"{name}_gate"].float().mean().item()


def _rounded(value: float) -> float:
    """Four significant digits: a recipe is read by people."""
    if value == 0:
        return 0.0
    return round(value, 3 - math.floor(math.log10(abs(value))))
