"""Stage 2 under kill -9: 20 kills at random moments of one run on mini, resumed each time, against none.

python benchmarks/bench_kills.py             PPO, 20 kills
python benchmarks/bench_kills.py --algorithm grpo --kills 5 --seed 3
Policy, best policy, metrics and samples must be equal to the bit; times and throughput are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfprompt.api.mini_evaluation import make_mini_prompts
from machine import header

RECIPES = Path(__file__).parents[1] / "recipes"
TIMES = ("pictures_per_second", "rollout_seconds", "update_seconds")


def command(algorithm: str, data: Path, output: Path, steps: int, *, resume: bool) -> list[str]:
    """The training as a user would type it: a step is 8 rows, and every step is saved."""
    start = [sys.executable, "-m", "dfprompt.cli.main", "train", algorithm, "--output", str(output)]
    if resume:
        return [*start, "--resume"]
    changes = [
        f"data.folder={data}",
        "rollout.rows=8",
        "optimizer.batch_size=8",
        "optimizer.micro_batch_size=8",
        f"optimizer.steps={steps}",
        "validation.rows=4",
        "validation.samples=2",
        "validation.interval=8",
        "checkpoints.interval=1",
        'device="cpu"',
    ]
    recipe = RECIPES / f"mini-{algorithm}.toml"
    return [*start, "--recipe", str(recipe), *(part for each in changes for part in ("--set", each))]


def steps_done(folder: Path) -> int:
    """How many steps a run has written down."""
    path = folder / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def run_killed(words: Sequence[str], folder: Path, moment: int, delay: float) -> bool:
    """Start, wait until so many steps are done and a little longer, kill; False if it ended before."""
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while steps_done(folder) < moment and process.poll() is None:
            time.sleep(0.005)
        time.sleep(delay)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            return True
        if process.returncode:
            raise SystemExit(f"the run failed: {process.stderr.read() if process.stderr else ''}")
        return False


def results(folder: Path) -> dict[str, Any]:
    """What has to be equal: weights by digest, every figure but times, every sample."""
    found: dict[str, Any] = {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for name in ("policy", "best")
        for path in sorted((folder / name).rglob("*.safetensors"))
    }
    for name in ("metrics.jsonl", "samples.jsonl"):
        rows = [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]
        found[name] = [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
    return found


def first_difference(one: Sequence[Any], other: Sequence[Any]) -> str:
    """Where two lists of rows first differ, for whoever has to find out why."""
    if len(one) != len(other):
        return f"{len(one)} rows against {len(other)}"
    row, pair = next((at, pair) for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    keys = sorted(key for key in pair[0].keys() | pair[1].keys() if pair[0].get(key) != pair[1].get(key))
    told = [f"{key} {pair[0].get(key)!r} against {pair[1].get(key)!r}" for key in keys[:6]]
    return f"row {row}: {', '.join(told)}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line per kill and the verdict; 1 if anything differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--algorithm", choices=("ppo", "grpo"), default="ppo")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args(arguments)
    print(header(f"stage 2 under kill -9: {asked.algorithm} on mini, {asked.kills} kills"))
    chance, steps = random.Random(asked.seed), asked.kills + 2
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        (root / "data").mkdir()
        lines = [json.dumps({"short": each.text, "modifiers": []}) for each in make_mini_prompts(48)]
        for name in ("train", "validation"):
            (root / "data" / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        whole, killed = root / "whole", root / "killed"
        started = time.perf_counter()
        first = command(asked.algorithm, root / "data", whole, steps, resume=False)
        subprocess.run(first, check=True, capture_output=True)
        seconds = time.perf_counter() - started
        step = (json.loads((whole / "metrics.jsonl").read_text().splitlines()[1]))["rollout_seconds"]
        print(f"  uninterrupted: {steps} steps in {seconds:.0f} s")
        kills, moments = 0, []
        while kills < asked.kills:
            resume = (killed / "recipe.toml").exists()
            words = command(asked.algorithm, root / "data", killed, steps, resume=resume)
            # One kill in five comes anywhere in starting up, the others anywhere in a step.
            moment = 0 if chance.random() < 0.2 else kills + 1
            delay = chance.uniform(0, 8.0 if moment == 0 else 1.5 * step)
            if not run_killed(words, killed, max(moment, 0), delay):
                break
            kills += 1
            moments.append(steps_done(killed))
        print(f"  killed {kills} times, with so many steps done: {', '.join(map(str, moments))}")
        last = command(asked.algorithm, root / "data", killed, steps, resume=True)
        subprocess.run(last, check=True, capture_output=True)
        one, other = results(whole), results(killed)
        differing = sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))
    print(f"  differing: {', '.join(differing) if differing else 'nothing; equal to the bit'}")
    for name in differing:
        if isinstance(one.get(name), list):
            print(f"    {name}: {first_difference(one[name], other[name])}")
    return int(bool(differing) or kills < asked.kills)


if __name__ == "__main__":
    sys.exit(main())
