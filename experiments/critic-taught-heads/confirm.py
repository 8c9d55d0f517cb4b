"""The confirmation sets: held-out prompts and noises that nobody looked at while the method was designed.

Each was written down before any policy was evaluated on it. The mini world's generator names its 301 held-out
prompts in one order. The first set are the 96 behind the first 200, with noises from 5200 on. So few are left
behind these that the second set, for policies trained under a limit of two modifiers, are the 96 before them,
with noises from 6200 on: tables of earlier policies used them, nobody looked at them for this method. The
third set is for what was trained with a part taken away. No prompts are left that nobody looked at: it is the
last 48 of the second set, with noises from 7200 on that nobody drew. The fourth, for runs of 64 rollouts with
a learning rate that falls, which were chosen on `curate`'s validation and test prompts, are the first and the
second set together, with noises from 8200 on that nobody drew. Run:

    python experiments/critic-taught-heads/confirm.py 2 PROMPTS.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dfprompt.api.mini_evaluation import make_mini_prompts

COUNT = {"1": 96, "2": 96, "3": 48, "4": 192}
BEHIND = {"1": 200, "2": 104, "3": 152, "4": 104}
NOISES = {"1": range(5200, 5206), "2": range(6200, 6204), "3": range(7200, 7202), "4": range(8200, 8202)}


def main() -> None:
    which, path = sys.argv[1:]
    behind, count = BEHIND[which], COUNT[which]
    prompts = make_mini_prompts(behind + count)[behind:]
    assert len(prompts) == count, f"the world has only {len(prompts)} prompts left"
    rows = [{"id": each.id, "prompt": each.text, **each.record} for each in prompts]
    Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
