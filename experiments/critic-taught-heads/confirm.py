"""The confirmation set: held-out prompts and noises that nobody looked at while the method was designed.

Written down before any policy was evaluated: of the mini world's held-out prompts in the order in which its
generator names them, those behind the first 200 (every earlier table used the first 96, 120 or 200), the next
96; noises 5200 to 5205. Run:  python experiments/critic-taught-heads/confirm.py PROMPTS.jsonl
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dfprompt.api.mini_evaluation import make_mini_prompts

LOOKED_AT, COUNT = 200, 96
NOISES = range(5200, 5206)


def main() -> None:
    prompts = make_mini_prompts(LOOKED_AT + COUNT)[LOOKED_AT:]
    assert len(prompts) == COUNT, f"the world has only {len(prompts)} prompts behind the first {LOOKED_AT}"
    rows = [{"id": each.id, "prompt": each.text, **each.record} for each in prompts]
    Path(sys.argv[1]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
