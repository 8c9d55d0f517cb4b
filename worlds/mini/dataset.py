"""Rendered pictures with captions and facts, in shards on disk, made once and resumable."""

from __future__ import annotations

import dataclasses
import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dfprompt.mini.captions import caption, sample_modifiers
from dfprompt.mini.modifiers import Placement
from dfprompt.mini.renderer import Scene, render, sample_scene
from dfprompt.storage import whole_files, write_text

SHARD = 500


@dataclass(frozen=True)
class Renders:
    """Pictures uint8 (M, 64, 64, 3), one caption and one Scene each."""

    pictures: npt.NDArray[np.uint8]
    captions: list[str]
    scenes: list[Scene]


def make_shard(folder: str, seed: int, shard: int, count: int, coupled: bool) -> None:
    """Render one shard into `folder` unless it is there, whole."""
    target = Path(folder) / f"{shard:05d}.npy"
    if target.exists():
        return
    rng = np.random.default_rng([seed, shard])
    pictures = np.empty((count, 64, 64, 3), np.uint8)
    rows = []
    for i in range(count):
        scene = sample_scene(rng, modifiers=sample_modifiers(rng), coupled=coupled)
        pictures[i] = np.round(render(scene) * 255)
        rows.append(json.dumps({"caption": caption(scene, rng), "scene": dataclasses.asdict(scene)}))
    write_text(target.with_suffix(".jsonl"), "\n".join(rows))
    save_array(target, pictures)


def save_array(path: Path, values: np.ndarray) -> None:
    """Write a `.npy` file whole or not at all."""
    with whole_files(path) as (unfinished,), unfinished.open("wb") as file:
        np.save(file, values)


def make_dataset(folder: Path, count: int, *, seed: int, coupled: bool = True, processes: int = 1) -> None:
    """Render `count` pictures in shards; shards already there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = [min(SHARD, count - start) for start in range(0, count, SHARD)]
    jobs = [(str(folder), seed, i, n, coupled) for i, n in enumerate(sizes)]
    if processes == 1:
        for job in jobs:
            make_shard(*job)
        return
    with ProcessPoolExecutor(processes) as pool:
        for future in [pool.submit(make_shard, *job) for job in jobs]:
            future.result()


def read_dataset(folder: Path) -> Renders:
    """Every shard of a folder, in order."""
    shards = sorted(folder.glob("[0-9]*.npy"))
    pictures = np.concatenate([np.load(path, allow_pickle=False) for path in shards])
    rows = [
        json.loads(line) for path in shards for line in path.with_suffix(".jsonl").read_text().splitlines()
    ]
    return Renders(pictures, [row["caption"] for row in rows], [_scene(row["scene"]) for row in rows])


def _scene(row: dict[str, object]) -> Scene:
    placement = Placement(**row.pop("placement"))  # type: ignore[arg-type]
    modifiers = tuple(row.pop("modifiers"))  # type: ignore[arg-type, var-annotated]
    return Scene(placement=placement, modifiers=modifiers, **row)  # type: ignore[arg-type]
