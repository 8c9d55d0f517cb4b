"""Commands whose numbers must not depend on who draws, as small as can be, and what to compare of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from crash_commands import write_inputs
from dfprompt.api.curation import run_curation
from dfprompt.api.evaluation import evaluate
from dfprompt.api.reinforcement import run_reinforcement

CLOCKS = ("seconds", "per_second")  # what a clock says is no number of a run


def run_evaluate(place: Path, output: Path, scale: Mapping[str, Any]) -> None:
    """Two methods and plain, 4 prompts, 6 seeds: two batches."""
    prompts = ["a red cat on a hill", "a blue boat at night", "a green star", "a yellow house in the snow"]
    methods = ["plain", "suffix", "starter"]
    evaluate(
        prompts,
        methods,
        output,
        suffix="film grain",
        seeds=6,
        validation_images=0,
        num_inference_steps=2,
        **scale,
    )


def run_curate(place: Path, output: Path, scale: Mapping[str, Any]) -> None:
    """16 pairs in batches of 3, so that a short prompt's pairs are parted."""
    changes = ["confidence.seeds=2", "confidence.aesthetic=mini", "confidence.clip=mini"]
    changes += ["confidence.batch_size=3", "confidence.pipeline=mini", *_changes(scale)]
    run_curation(place / "logs.txt", None, changes, output=output)


def run_grpo(place: Path, output: Path, scale: Mapping[str, Any]) -> None:
    """Six rollouts of two batches each, with validations."""
    changes = [
        'device="cpu"',
        f'data.folder="{place / "data"}"',
        "optimizer.steps=6",
        "validation.interval=3",
        "validation.samples=1",
        "checkpoints.interval=2",
        "model.base=mini-sft",
        "rollout.rows=8",
        "rollout.batch_size=4",
        "rollout.control_draws=1",
        "validation.rows=4",
        "group.size=4",
        "pictures.num_inference_steps=2",
    ]
    run_reinforcement("grpo", None, [*changes, *_changes(scale)], output=output)


def _changes(scale: Mapping[str, Any]) -> list[str]:
    return [f"scale.{name}={json.dumps(value)}" for name, value in scale.items()]


COMMANDS: Mapping[str, Callable[[Path, Path, Mapping[str, Any]], None]] = {
    "evaluate": run_evaluate,
    "curate": run_curate,
    "grpo": run_grpo,
}


def prepare(place: Path) -> Path:
    """Write what the commands read."""
    if not place.exists():
        write_inputs(place)
    return place


def read_numbers(folder: Path) -> dict[str, Any]:
    """Rows of tables and logs without clocks, and digests of weights and pictures, by file."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.name in ("rows.jsonl", "metrics.jsonl", "scores.jsonl", "samples.jsonl", "train.jsonl"):
            rows = [_timeless(json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]
            found[name] = [row for row in rows if "measurement" not in row]
        elif path.name in ("removed.jsonl", "scores.csv"):
            found[name] = path.read_text(encoding="utf-8")
        elif path.suffix in (".safetensors", ".png") and path.name != "curves.png":
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _timeless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if not name.endswith(CLOCKS)}
