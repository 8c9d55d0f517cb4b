"""Rollouts per second of stage 2 against workers, on paper: a step is sampled, drawn in batches, learnt from.

python benchmarks/scale_simulation.py                         two assumed models
python benchmarks/scale_simulation.py --picture 0.9 --name mine --rows 128

A step waits for its last batch, so workers beyond the batches of a step stand idle, and the driver's own
time (sampling words, the update, handing out) is never shortened. Costs are parameters: the built-in ones
are assumptions, to be replaced by a measured `rollout_seconds` of metrics.jsonl.
"""

from __future__ import annotations

import argparse
import heapq
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Costs:
    """Seconds: of a picture with its scores on one worker, of a rewrite's words, update and hand-out here."""

    name: str
    picture: float
    words: float
    update: float
    handing: float = 0.002  # a call of a worker and its answer
    rows: int = 32
    batch: int = 8


ASSUMED = (
    Costs("SD 1.5, 512 px, 10 steps, one data-centre GPU (assumed)", picture=0.5, words=0.02, update=0.03),
    Costs("FLUX.1, 1024 px, 28 steps, one data-centre GPU (assumed)", picture=12.0, words=0.02, update=0.03),
)


def step_seconds(costs: Costs, workers: int) -> float:
    """Seconds of one step: batches go one after another to whichever worker is free first.

    >>> one = Costs("one", picture=1.0, words=0.0, update=0.0, handing=0.0, rows=4, batch=1)
    >>> step_seconds(one, 1), step_seconds(one, 3), step_seconds(one, 4), step_seconds(one, 100)
    (4.0, 2.0, 1.0, 1.0)
    """
    sizes = [min(costs.batch, costs.rows - at) for at in range(0, costs.rows, costs.batch)]
    free, handed = [0.0] * workers, 0.0
    for size in sizes:
        handed += costs.handing  # the driver hands out one at a time
        heapq.heappush(free, max(heapq.heappop(free), handed) + size * costs.picture)
    drawn = max(free)
    return costs.rows * (costs.words + costs.update) + drawn


def saturation(costs: Costs) -> tuple[int, float]:
    """Return the workers from which on another one adds nothing, and the rollouts per second there."""
    most = -(-costs.rows // costs.batch)
    return most, costs.rows / step_seconds(costs, most)


def show(costs: Costs) -> None:
    """Print a table, where it ends, and what raises that end."""
    print(f"{costs.name}: {costs.rows} rewrites a step in batches of {costs.batch}")
    print(
        f"  {costs.picture:g} s a picture, {costs.words:g} s a rewrite's words, {costs.update:g} s its update"
    )
    print("  workers  rollouts/s  of linear")
    alone = costs.rows / step_seconds(costs, 1)
    for workers in (1, 2, 4, 8, 16, 32, 64, 128):
        rate = costs.rows / step_seconds(costs, workers)
        print(f"  {workers:7d}  {rate:10.3f}  {rate / alone / workers:8.0%}")
    most, rate = saturation(costs)
    limit = 1 / (costs.words + costs.update)
    print(f"  ends at {most} workers, {rate:.3f} rollouts/s: a step has no more batches")
    smaller = saturation(replace(costs, batch=1))
    print(f"  rollout.batch_size=1: ends at {smaller[0]} workers, {smaller[1]:.3f} rollouts/s")
    wider = saturation(replace(costs, rows=costs.rows * 8))
    print(f"  rollout.rows={costs.rows * 8}: ends at {wider[0]} workers, {wider[1]:.3f} rollouts/s")
    print(f"  the driver alone, were pictures free: {limit:.1f} rollouts/s; beyond it words and update must")
    print("  move to a GPU of their own or to several processes (torchrun), which workers cannot help with\n")


def main() -> None:
    """Read the costs and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="costs as given")
    parser.add_argument("--picture", type=float, help="seconds of a picture with its scores on one worker")
    parser.add_argument("--words", type=float, default=0.02, help="seconds of a rewrite's words, here")
    parser.add_argument("--update", type=float, default=0.03, help="seconds of the update per rewrite")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--batch", type=int, default=8)
    asked = parser.parse_args()
    chosen = ASSUMED
    if asked.picture is not None:
        chosen = (Costs(asked.name, asked.picture, asked.words, asked.update),)
    for costs in chosen:
        show(replace(costs, rows=asked.rows, batch=asked.batch))


if __name__ == "__main__":
    main()
