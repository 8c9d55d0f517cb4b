"""Choices of the mini world's raters between pictures of an evaluation, as a file for `dfprompt judge-check`.

    python experiments/mini-full-table/choices.py EVALUATION --output pairs.jsonl

Every picture of a method stands beside the plain one of its noise; one rater (the world's formula and the
rater's own noise) rates both and chooses the higher. Sides are dealt by the seed. Synthetic, no people.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch

from dfprompt.api.mini_evaluation import facts_of
from dfprompt.images.reading import read_image
from dfprompt.measurement.log import read_rows
from dfprompt.measurement.rows import PLAIN
from dfprompt.mini.raters import rate

SEED = 90_110


def main() -> None:
    """Read the rows, ask a rater about every pair, write the choices."""
    parser = argparse.ArgumentParser(description="Let the mini world's raters choose.")
    parser.add_argument("evaluation", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    rows = {row.key: row for row in read_rows(options.evaluation / "rows.jsonl") if row.picture}
    generator, sides = torch.Generator().manual_seed(SEED), np.random.default_rng(SEED)
    lines = []
    for (method, prompt, seed), row in sorted(rows.items()):
        plain = rows.get((PLAIN, prompt, seed))
        if method == PLAIN or plain is None:
            continue
        files = [options.evaluation / str(each.picture) for each in (plain, row)]
        scene = facts_of(row.prompt, {}).get("scene")
        if scene is None:
            continue
        images = torch.stack([read_image(file).pixels for file in files])
        ratings = rate(images, [scene, scene], generator=generator)
        chosen = int(ratings[1] > ratings[0]) if ratings[0] != ratings[1] else None
        first = int(sides.integers(2))
        order = (first, 1 - first)
        names = [os.path.relpath(files[place], options.output.parent) for place in order]
        value = {"prompt": row.prompt, "prompt_id": prompt, "a": names[0], "b": names[1]}
        value["choice"] = "tie" if chosen is None else "ab"[order.index(chosen)]
        lines.append(json.dumps({**value, "generator_a": "mini", "generator_b": "mini", "method": method}))
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(lines)} choices")


if __name__ == "__main__":
    main()
