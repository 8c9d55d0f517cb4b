"""The executor that a command was asked for: here, in processes of this machine, or on a Ray cluster."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from dfprompt.errors import ConfigError, DFPromptWarning
from dfprompt.executor.dispatch import Crew, CrewExecutor
from dfprompt.executor.local import LocalExecutor
from dfprompt.executor.processes import ProcessCrew
from dfprompt.executor.protocol import Executor

_THREADS = "OMP_NUM_THREADS"
_VISIBLE = "CUDA_VISIBLE_DEVICES"


@contextmanager
def opened(
    workers: int | None = None,
    ray: str | None = None,
    gpus_per_worker: float | None = None,
    timeout: float = 0.0,
) -> Iterator[Executor]:
    """Yield an executor, closed behind: this process itself without `workers` and `ray`.

    `ray` is a cluster's address, `workers` how many (on a cluster: by default as many as fit), each with
    `gpus_per_worker` GPUs (by default one where this machine has any). Raises ConfigError for what this
    machine cannot give, ExecutorError for what the cluster cannot.

    >>> with opened() as executor:
    ...     list(executor.map(abs, [-1]))
    [1]
    """
    if workers is None and ray is None:
        yield LocalExecutor()
        return
    with CrewExecutor(_crew(workers, ray, gpus_per_worker), timeout=timeout) as executor:
        yield executor


def _crew(workers: int | None, ray: str | None, gpus: float | None) -> Crew:
    if ray is not None:
        from dfprompt.executor.on_ray import RayCrew, require_ray

        require_ray()
    devices = _devices()
    each = (1.0 if devices else 0.0) if gpus is None else gpus
    threads = _threads()
    environment = {_THREADS: str(threads)}
    if os.environ.get("HF_HUB_OFFLINE"):
        environment["HF_HUB_OFFLINE"] = os.environ["HF_HUB_OFFLINE"]
    if ray is not None:
        return RayCrew(workers, ray, gpus=each, environment=environment)
    assert workers is not None
    cores = os.cpu_count() or 1
    if not each and workers > 1 and workers * threads > cores:
        warnings.warn(
            f"{workers} workers with {threads} threads each share {cores} cores: they will wait for one "
            f"another; set {_THREADS}={max(1, cores // workers)} (another number may round otherwise)",
            DFPromptWarning,
            stacklevel=5,
        )
    return ProcessCrew(workers, [{**environment, **here} for here in place_gpus(workers, each, devices)])


def place_gpus(workers: int, each: float, devices: list[str]) -> list[dict[str, str]]:
    """Return which GPUs each worker sees, as its environment; raises ConfigError where there are too few.

    >>> place_gpus(2, 0.5, ["0"])
    [{'CUDA_VISIBLE_DEVICES': '0'}, {'CUDA_VISIBLE_DEVICES': '0'}]
    """
    if not each:
        return [{}] * workers
    if each != int(each) and each > 1:
        raise ConfigError(f"--gpus-per-worker is a whole number or a share of one GPU, not {each:g}")
    room = len(devices) // int(each) if each >= 1 else len(devices) * int(1 // each)
    if workers > room:
        raise ConfigError(
            f"{workers} workers with {each:g} GPUs each are asked for, and this machine has {len(devices)}, "
            f"room for {room}; lower --workers or --gpus-per-worker (0: none), or use --ray"
        )
    if each >= 1:
        whole = int(each)
        return [{_VISIBLE: ",".join(devices[at * whole : (at + 1) * whole])} for at in range(workers)]
    return [{_VISIBLE: devices[at % len(devices)]} for at in range(workers)]


def _devices() -> list[str]:
    """Return the names of the GPUs here, as the environment may have chosen them."""
    import torch

    count = torch.cuda.device_count()
    chosen = [each for each in os.environ.get(_VISIBLE, "").split(",") if each.strip()]
    return chosen[:count] if len(chosen) >= count else [str(at) for at in range(count)]


def _threads() -> int:
    """Return the threads of this process: workers take as many, for the same numbers."""
    import torch

    return torch.get_num_threads()
