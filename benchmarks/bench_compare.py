"""The main job from a cold start: `dfprompt compare` on mini in a process of its own, as `make demo` runs it.

python benchmarks/bench_compare.py             three prompts, 4 seeds each, two threads
python benchmarks/bench_compare.py --smoke     one prompt, one seed: whether it runs
The reference is a process that imports torch, diffusers and transformers and does nothing.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from machine import header

PROMPTS = ("an orange mushroom in a forest", "a yellow moon at night", "a red house in the snow")
GOAL = 60.0  # seconds, on two cores
IMPORTS = "import torch, diffusers, transformers; from diffusers import StableDiffusionPipeline"


def timed(command: Sequence[str], threads: int) -> float:
    """Seconds of a process; raises CalledProcessError where it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> int:
    """Return 1 if it took longer than the goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--smoke", action="store_true")
    chosen = parser.parse_args()
    prompts, seeds = (PROMPTS[:1], 1) if chosen.smoke else (PROMPTS, chosen.seeds)
    print(header(f"compare on mini, {len(prompts)} prompts, {seeds} seeds, {chosen.threads} threads"))
    bare = timed([sys.executable, "-c", IMPORTS], chosen.threads)
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "compare"
        command = [sys.executable, "-m", "dfprompt.cli.main", "compare", *prompts]
        took = timed([*command, "--seeds", str(seeds), "--output", str(output)], chosen.threads)
        written = len(list(output.iterdir()))
    print(f"  imports alone        {bare:6.1f} s")
    print(f"  compare              {took:6.1f} s   {took / bare:.1f} x, goal <= {GOAL:.0f} s")
    print(f"  wrote {written} files")
    return int(took > GOAL)


if __name__ == "__main__":
    sys.exit(main())
