"""Workers that are actors of a Ray cluster: Ray Core alone, no dashboard, no statistics sent."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import pickle
import platform
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from dfprompt import __version__
from dfprompt.errors import ConfigError, ExecutorError
from dfprompt.executor.answers import Answer, Lost, compute_answer
from dfprompt.executor.dispatch import Starts

_PROBE = 5.0  # seconds between looks at the head while nothing comes in, and for it to answer
FREE = 20  # seconds that CPUs and GPUs which others hold may take to come free
_STORE = 100 * 2**20  # bytes of object store of a cluster of our own: no picture goes through it
LOCAL = "local"


class _Actor:
    """What runs in a worker."""

    def __init__(self, environment: Mapping[str, str], folder: str, path: Sequence[str]) -> None:
        os.environ.update(environment)  # before anything heavy is imported
        sys.path += [each for each in path if each not in sys.path]
        with contextlib.suppress(OSError):
            os.chdir(folder)  # names that are not found there are refused where they are read

    def versions(self) -> dict[str, str]:
        return _versions()

    def answer(self, message: bytes) -> bytes:
        try:
            return compute_answer(message)
        except MemoryError:
            return b""


class RayCrew:
    """`size` actors with one CPU and `gpus` GPUs each, on the cluster at `address`; "local" begins one here.

    Where this process is connected to a cluster already, that one is used and left running. Raises
    ConfigError without the extra, and for an address nobody answers at; ExecutorError at once where the
    cluster is too small for so many.
    """

    def __init__(
        self,
        size: int | None,
        address: str = LOCAL,
        *,
        gpus: float = 0.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        ray = self._ray = require_ray()
        self._dumps: Callable[[Any], bytes] = ray.cloudpickle.dumps
        self.address, self.gpus, self.environment = address, gpus, dict(environment or {})
        self._owned, self._is_gone = not ray.is_initialized(), False
        if self._owned:
            _connect(ray, address, size or os.cpu_count() or 1)
        self._head = str(ray.get_runtime_context().gcs_address)
        try:
            self.size = self._check_room(size)
            self._reserved = self._reserve()
        except BaseException:
            self.close()
            raise
        self._actors: dict[int, Any] = {}
        self._greeted: dict[int, Any] = {}  # place -> what a new actor says of itself
        self._asked: dict[int, deque[Any]] = {}
        self._starts, self._looked = Starts(), time.monotonic()

    def _check_room(self, size: int | None) -> int:
        """Return how many workers there will be; raises ExecutorError where they have no room."""
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        room = sum(_fit(node, self.gpus) for node in nodes)
        cpus, gpus = (sum(node.get(name, 0) for node in nodes) for name in ("CPU", "GPU"))
        if not room or (size or 0) > room:
            each = f"1 CPU and {self.gpus:g} GPU{'s' * (self.gpus > 1)}" if self.gpus else "1 CPU"
            raise ExecutorError(
                f"{size or 1} workers with {each} each are asked for, and the Ray cluster at {self._head} "
                f"has room for {room} ({len(nodes)} machines, {cpus:g} CPUs, {gpus:g} GPUs); lower --workers "
                "or --gpus-per-worker, or add machines"
            )
        return size or room

    def _reserve(self) -> Any:
        """Return what every worker takes, held for us: Ray would let them wait for it in silence."""
        from ray.util.placement_group import placement_group

        each = {"CPU": 1.0} | ({"GPU": self.gpus} if self.gpus else {})
        held = placement_group([each] * self.size, strategy="SPREAD")
        if not held.wait(timeout_seconds=FREE):
            free = self._ray.available_resources()
            self._ray.util.remove_placement_group(held)
            raise ExecutorError(
                f"{self.size} workers are asked for, and of the Ray cluster at {self._head} only "
                f"{free.get('CPU', 0):g} CPUs and {free.get('GPU', 0):g} GPUs came free in {FREE} s: others "
                "hold the rest; lower --workers, or wait until they are done"
            )
        return held

    def start(self, place: int) -> None:
        """Ask for an actor."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        actor = self._ray.remote(_Actor).options(
            num_cpus=1,
            num_gpus=self.gpus,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._reserved, place),
        )
        self._actors[place] = actor.remote(self.environment, os.getcwd(), sys.path)
        self._asked[place] = deque()
        self._greeted[place] = self._actors[place].versions.remote()

    def ready(self, place: int) -> bool:
        """Return whether an actor has said what it is."""
        return place in self._actors and place not in self._greeted

    def give(self, place: int, fn: Callable[[Any], Any], item: Any) -> None:
        """Call an actor."""
        self._asked[place].append(self._actors[place].answer.remote(self._dumps((fn, item))))

    def wait(self, seconds: float) -> list[tuple[int, Answer | Lost]]:
        """Return the answers and losses of the next moment in which there are any."""
        self._look_at_head()  # actors may outlive it for a minute, and then Ray ends this process
        heads = {self._greeted.get(place) or asked[0]: place for place, asked in self._waiting()}
        if not heads:
            time.sleep(seconds)
            return []
        done, _ = self._ray.wait(list(heads), num_returns=1, timeout=seconds)
        if not done:
            return []
        done, _ = self._ray.wait(list(heads), num_returns=len(heads), timeout=0)
        return [each for ref in done for each in self._take(heads[ref], ref)]

    def _waiting(self) -> list[tuple[int, deque[Any]]]:
        return [(place, asked) for place, asked in self._asked.items() if asked or place in self._greeted]

    def _take(self, place: int, ref: Any) -> list[tuple[int, Answer | Lost]]:
        try:
            came = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._look_at_head(now=True)
            came = Lost(_told(error))
        if place in self._greeted:
            del self._greeted[place]
            if not isinstance(came, Lost):
                _check_versions(came)
                return []
            self._starts.lost_early(came.reason)
        else:
            self._asked[place].popleft()
            self._starts.came_up()
            if not isinstance(came, Lost):
                came = pickle.loads(came) if came else Lost("ran out of memory")
        if isinstance(came, Lost):
            self.end(place)
        return [(place, came)]

    def _look_at_head(self, *, now: bool = False) -> None:
        """Raise ExecutorError where the cluster's head does not listen any more."""
        if not now and time.monotonic() - self._looked < _PROBE:
            return
        self._looked = time.monotonic()
        if not _listens(self._head):
            self._is_gone = True
            atexit.register(sys.stdout.flush)  # Ray ends this process when it takes leave, with 1
            raise ExecutorError(f"the head of the Ray cluster at {self._head} is gone; start it again")

    def end(self, place: int) -> None:
        """Kill an actor."""
        actor = self._actors.pop(place, None)
        self._greeted.pop(place, None)
        self._asked.pop(place, None)
        if actor is not None and not self._is_gone:
            with contextlib.suppress(Exception):  # it is gone, or the cluster is
                self._ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """Kill all actors; a cluster of our own goes with them."""
        for place in list(getattr(self, "_actors", ())):
            self.end(place)
        if self._is_gone:
            return  # Ray would end this process, with nothing said
        if self._owned:
            self._ray.shutdown()
        elif (held := getattr(self, "_reserved", None)) is not None:
            with contextlib.suppress(Exception):  # the cluster is gone
                self._ray.util.remove_placement_group(held)


def require_ray() -> Any:
    """Return the library; raises ConfigError without it."""
    try:
        import ray
        import ray.cloudpickle
        import ray.exceptions
    except ImportError as error:
        raise ConfigError("--ray needs the extra ray: pip install 'dfprompt[ray]'") from error
    return ray


def _connect(ray: Any, address: str, cpus: int) -> None:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    if address.startswith("ray://"):
        raise ConfigError(f"--ray takes host:port of the head, auto or local, not {address}")
    host, colon, port = address.rpartition(":")
    if colon and not _listens(address):
        raise ConfigError(f"nobody answers at {host}, port {port}: is that the Ray head's address (--ray)?")
    logging.getLogger("ray").setLevel(logging.ERROR)
    own: dict[str, Any] = {"num_cpus": cpus, "object_store_memory": _STORE, "include_dashboard": False}
    try:
        ray.init(
            address=address,
            log_to_driver=False,
            configure_logging=False,
            **own if address == LOCAL else {},
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"cannot reach a Ray cluster at {address}: {_first_line(error)}") from error
    # What befalls its workers Ray prints to stdout, where only results go; it is told here in other words.
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _fit(resources: Mapping[str, float], gpus: float) -> int:
    """Return how many workers a machine has room for.

    >>> both = {"CPU": 8, "GPU": 2}
    >>> _fit(both, 1), _fit(both, 0.5), _fit({"CPU": 8}, 1), _fit(both, 0)
    (2, 4, 0, 8)
    """
    room = int(resources.get("CPU", 0))
    if not gpus:
        return room
    own = resources.get("GPU", 0)
    return min(room, int(own // gpus) if gpus >= 1 else int(own) * int(1 // gpus))


def _listens(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PROBE).close()
    except (OSError, ValueError):
        return False
    return True


def _versions() -> dict[str, str]:
    """Return what must be the same everywhere for numbers to be the same."""
    found = {"Python": platform.python_version(), "dfprompt": __version__}
    for name in ("torch", "diffusers", "transformers"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _check_versions(theirs: Mapping[str, str]) -> None:
    ours = _versions()
    if other := [name for name in ours if ours[name] != theirs.get(name)]:
        told = ", ".join(f"{name} {theirs.get(name, 'missing')} there, {ours[name]} here" for name in other)
        raise ExecutorError(f"a worker's machine has other versions: {told}; install the same everywhere")


def _told(error: Exception) -> str:
    """Return how an actor ended, as a clause."""
    kind = type(error).__name__
    if kind == "OutOfMemoryError":
        return "was ended by Ray, because its machine ran out of memory"
    return f"was lost ({kind}: {_first_line(error)})"


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
