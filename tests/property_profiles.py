"""How hypothesis draws its examples: the same in every run, and more of them where asked for."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# A busy machine must not fail a property, so there are no deadlines; `thorough` is for local hunts:
# HYPOTHESIS_PROFILE=thorough make test. `make test` takes a third of the examples, `make test-all` all.
_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile(
    "thorough", max_examples=3000, deadline=None, suppress_health_check=_SLOW_MACHINE, print_blob=True
)
settings.register_profile("quick", settings.get_profile("ci"), max_examples=33)


def pytest_configure(config: pytest.Config) -> None:
    """Take the profile that was asked for, or the one that goes with the tests that were."""
    some = config.getoption("markexpr") in ("not nightly", "not slow and not nightly")
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick" if some else "ci"))


def examples(number: int) -> int:
    """So many examples in place of the usual 100; as many times more or fewer as the profile takes."""
    return max(1, number * settings().max_examples // 100)
