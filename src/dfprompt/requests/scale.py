"""Who draws and scores: this process, several on this machine, or those of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, field_serializer

from dfprompt.requests.base import Flag, Request

NAMED_CLUSTERS = ("auto", "local")
"""What --ray takes beside an address: the cluster that runs here, and one begun for the command."""


class ScaleRequest(Request):
    """Workers that draw and score; without any, this process does.

    >>> ScaleRequest(workers=2).scale_changes
    ('scale.workers=2',)
    """

    workers: Annotated[int | None, Flag(metavar="N")] = Field(default=None, ge=1, le=4096)
    """Processes that draw and score, on this machine or with --ray; default: this process alone."""
    ray: Annotated[str | None, Flag(metavar="ADDRESS")] = Field(default=None, min_length=1)
    """The Ray cluster the workers are on: HOST:PORT of its head, auto, or local; needs the extra ray."""
    gpus_per_worker: Annotated[float | None, Flag(metavar="G")] = Field(default=None, ge=0)
    """GPUs of each worker, also a share as 0.5; default: one where this machine has any."""
    worker_timeout: Annotated[float, Flag(metavar="SECONDS")] = Field(default=1800.0, ge=0)
    """Seconds a batch may take before its worker is replaced; 0: no limit."""

    @property
    def chosen_workers(self) -> bool:
        """Whether other processes draw."""
        return self.workers is not None or self.ray is not None

    @property
    def chosen(self) -> dict[str, Any]:
        """What `executor.opened` is called with."""
        return {
            "workers": self.workers,
            "ray": self.ray,
            "gpus_per_worker": self.gpus_per_worker,
            "timeout": self.worker_timeout,
        }

    @property
    def scale_changes(self) -> tuple[str, ...]:
        """What was asked otherwise than by default, as settings of a recipe's section scale."""
        given = {name: getattr(self, name) for name in ScaleRequest.model_fields}
        plain = ScaleRequest.model_fields
        return tuple(f"scale.{name}={value}" for name, value in given.items() if value != plain[name].default)


class ScaleSection(ScaleRequest):
    """The same as a section of recipes. A cluster's address is said with --ray, and kept in no file.

    Whoever answers at such an address can run code here, and recipes come from anywhere.

    >>> ScaleSection(ray="head:6379").model_dump()["ray"], ScaleSection(ray="local").model_dump()["ray"]
    (None, 'local')
    """

    @classmethod
    def refuse_in_file(cls, values: Mapping[str, Any]) -> Iterator[str]:
        """Yield a line for a cluster's address."""
        if values.get("ray", None) not in (None, *NAMED_CLUSTERS):
            yield (
                f"ray: a file names no cluster but {' and '.join(NAMED_CLUSTERS)}, for whoever answers at an "
                "address can run code here; give the address as --ray"
            )

    @field_serializer("ray")
    def _without_address(self, ray: str | None) -> str | None:
        return ray if ray in NAMED_CLUSTERS else None


class CostRequest(Request):
    """Whether to draw at all."""

    estimate: bool = False
    """Say what would be drawn (pictures, denoiser evaluations, disk), and draw nothing."""


class ShardRequest(Request):
    """A part of a run whose parts are put together by `dfprompt merge`."""

    shard: Annotated[str | None, Flag(metavar="I/N")] = None
    """Draw only the I-th of N parts, into a folder of its own; `dfprompt merge` puts them together."""
