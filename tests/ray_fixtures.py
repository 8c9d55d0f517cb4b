"""One small Ray cluster per test process: starting it takes seconds and memory."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator

import pytest
import pytest_socket


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """Connect this process to a cluster with two CPUs; whoever asks for Ray then finds it there."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="disabled")
    logging.getLogger("ray").setLevel(logging.ERROR)
    pytest_socket.enable_socket()  # the marker of a test opens them after this
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(
            address="local",
            num_cpus=2,
            num_gpus=0,
            object_store_memory=80_000_000,
            include_dashboard=False,
            log_to_driver=False,
            configure_logging=False,
        )
    yield
    ray.shutdown()
