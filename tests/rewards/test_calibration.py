"""Thresholds from plain pictures: quantiles by hand, and how often each gate binds."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dfprompt.errors import ConfigError
from dfprompt.rewards import CompositeSettings, calibrate


def _scores(count: int = 101) -> dict[str, torch.Tensor]:
    spread = torch.linspace(0, 1, count)
    return {"aesthetic": 5 + spread, "clip": 0.2 + 0.1 * spread, "preference": 19 + 4 * spread.flip(0)}


def test_quartiles_by_hand() -> None:
    done = calibrate(_scores(), CompositeSettings(), quantile=0.25)
    assert done.constants.zeta == pytest.approx(0.225)
    assert done.constants.kappa == pytest.approx(20.0)
    assert done.images == 101
    zeta, kappa = done.gates["zeta"], done.gates["kappa"]
    assert zeta.binds == pytest.approx(25 / 101)
    assert zeta.binds_before == pytest.approx(80 / 101)  # the published .28 punishes nearly everything here
    assert kappa.binds == pytest.approx(25 / 101)
    assert kappa.binds_before == 0  # and the paper's 18 nothing
    assert (zeta.threshold_before, kappa.threshold_before) == (0.28, 18)


def test_other_constants_are_kept() -> None:
    constants = CompositeSettings(a=2, b=0.5, c=7, d=0.1)
    done = calibrate(_scores(), constants).constants
    assert (done.a, done.b, done.c, done.d) == (2, 0.5, 7, 0.1)


def test_relative_thresholds_become_absolute() -> None:
    constants = CompositeSettings(zeta_relative=True, kappa_relative=True)
    done = calibrate(_scores(), constants)
    assert not done.constants.zeta_relative
    assert not done.constants.kappa_relative
    assert done.gates["zeta"].binds_before == 0  # a plain picture is not below itself
    assert done.gates["zeta"].binds == pytest.approx(50 / 101)


def test_the_spread_of_each_term_is_reported() -> None:
    scores = _scores()
    done = calibrate(scores, CompositeSettings(), quantile=1.0)
    assert done.spread["aesthetic_term"] == pytest.approx(scores["aesthetic"].std().item(), rel=1e-5)
    assert done.spread["clip_gate"] == pytest.approx(20 * scores["clip"].std().item(), rel=1e-3)


def test_only_the_gates_there_are_get_calibrated() -> None:
    done = calibrate({"clip": _scores()["clip"]}, CompositeSettings(d=0))
    assert list(done.gates) == ["zeta"]
    assert done.constants.kappa == 18


def test_the_summary_names_both_thresholds() -> None:
    text = calibrate(_scores(), CompositeSettings()).summary()
    assert "zeta: 0.28 binds on 79.2%; calibrated 0.25 binds on" in text
    assert "kappa: 18 binds on 0.0%" in text


@given(
    clip=st.lists(st.floats(-1, 1, width=32), min_size=8, max_size=60),
    quantile=st.floats(0, 1),
)
def test_a_gate_binds_on_about_its_quantile(clip: list[float], quantile: float) -> None:
    values = torch.tensor(clip)
    done = calibrate({"clip": values}, CompositeSettings(d=0), quantile=quantile)
    below = (values < done.constants.zeta).float().mean().item()
    assert done.gates["zeta"].binds == pytest.approx(below)
    # At most the quantile's share lies strictly below it, but for rounding the threshold to 4 digits.
    rounding = ((values - done.constants.zeta).abs() <= 1e-3).float().mean().item()
    assert below <= quantile + 1 / len(clip) + rounding


@pytest.mark.parametrize("scores", [{}, {"clip": torch.zeros(7)}])
def test_too_few_pictures_raise(scores: dict[str, torch.Tensor]) -> None:
    with pytest.raises(ConfigError, match="at least 8 plain pictures"):
        calibrate(scores, CompositeSettings())


@pytest.mark.parametrize("quantile", [-0.1, 1.1])
def test_a_quantile_outside_its_range_raises(quantile: float) -> None:
    with pytest.raises(ConfigError, match=r"quantile must lie in 0\.\.1"):
        calibrate(_scores(), CompositeSettings(), quantile=quantile)
