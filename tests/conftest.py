"""What every test shares: one thread, no network, and the same examples in every CI run."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable

# Before anything imports torch or a Hugging Face library.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.pop("NO_COLOR", None)

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tiny_fixtures", "reward_fixtures"]

# A busy machine must not fail a property, so there are no deadlines; `thorough` is for local hunts:
# HYPOTHESIS_PROFILE=thorough make test.
_SLOW_MACHINE = [HealthCheck.too_slow]
settings.register_profile("ci", derandomize=True, deadline=None, suppress_health_check=_SLOW_MACHINE)
settings.register_profile(
    "thorough", max_examples=3000, deadline=None, suppress_health_check=_SLOW_MACHINE, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

Cli = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("plan", "a cat", stdin=b"...", encoding="ascii")`: the real command line in its own process.

    What the process writes is decoded with its own encoding, strictly.
    """

    def run(*arguments: str, stdin: bytes = b"", encoding: str = "utf-8") -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONIOENCODING": encoding, "COLUMNS": "100"}
        command = [sys.executable, "-m", "dfprompt.cli.main", *arguments]
        ran = subprocess.run(command, input=stdin, capture_output=True, env=environment, check=False)
        out, err = (stream.decode(encoding).replace("\r\n", "\n") for stream in (ran.stdout, ran.stderr))
        return subprocess.CompletedProcess(command, ran.returncode, out, err)

    return run
