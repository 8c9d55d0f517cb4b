"""Evaluations of coloured squares, and studies of them: no model, no torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dfprompt.measurement.rows import Row
from dfprompt.requests.base import make_request
from dfprompt.requests.study import StudyPlanRequest
from dfprompt.study.drawing import Evaluation, draw_pairs
from dfprompt.study.making import write_study
from dfprompt.study.study import Study

THINGS = ("house", "cat", "boat", "tree", "lamp", "bird", "shoe", "cup", "car", "hill", "fish", "clock")
METHODS = ("plain", "secret-method")


def write_evaluation(
    folder: Path, *, prompts: int = 24, seeds: int = 1, methods: Sequence[str] = METHODS, size: int = 16
) -> Path:
    """Write rows.jsonl and pictures with telling metadata; later methods' pictures are noisier, so longer."""
    (folder / "pictures").mkdir(parents=True)
    lines = [json.dumps({"dfprompt": 1, "measurement": "evaluation", "asked": {}, "methods": {}})]
    for number in range(prompts):
        text = f"a {THINGS[number % len(THINGS)]} number {number}"
        for seed in range(seeds):
            for place, method in enumerate(methods):
                name = f"pictures/{method}-p{number}-s{seed}.png"
                _draw(folder / name, [number, seed, place], spread=40 * place, method=method, size=size)
                scores = {"sharpness": float(place), "luck": float((number * 7 + place * 3) % 5)}
                row = Row(method, f"p{number}", text, seed, seed, text, name, scores, {}, 1)
                lines.append(row.to_line())
    (folder / "rows.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return folder


def _draw(path: Path, entropy: list[int], *, spread: int, method: str, size: int) -> None:
    random = np.random.default_rng(entropy)
    base = random.integers(60, 180, 3)
    pixels = base + random.integers(-spread - 1, spread + 1, (size, size, 3))
    info = PngInfo()
    info.add_text("dfprompt", json.dumps({"method": method}))
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, pnginfo=info)


def make_study(folder: Path, evaluation: Path, **changes: Any) -> Study:
    """Plan a study of an evaluation: 12 pairs, 6 people, 6 pairs each, unless told otherwise."""
    small = {"pairs": 12, "participants": 6, "per_participant": 6, "practice": 1, "repeats": 1}
    asked = make_request(
        StudyPlanRequest,
        {"evaluation": evaluation, "methods": METHODS, "output": folder, **small, **changes},
    )
    source = Evaluation(evaluation, asked.methods)
    drawn = draw_pairs(source, asked)
    write_study(asked, source, drawn, "# Consent\n\nYou may stop at any time.\n", "not computed")
    return Study.open(folder)
