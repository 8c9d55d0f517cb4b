"""Every command that writes into a folder, as small as it can be, and how it is run again after a crash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_DRAW = ("--steps", "2")
_SHORTS = ("a red cat on a hill", "a blue boat at night", "a green star", "a yellow house in the snow")


@dataclass(frozen=True)
class Command:
    """What is typed, and what is added to go on; `manifest` is the file that tells a folder is its own."""

    words: tuple[str, ...]
    again: tuple[str, ...] = ()
    manifest: str = ""
    slow: bool = False

    @property
    def parts(self) -> Sequence[str]:
        """The words with the folder they write into."""
        return (*self.words, "--output", "out")


def _set(*changes: str) -> tuple[str, ...]:
    return tuple(word for each in changes for word in ("--set", each))


_RUN = (
    'device="cpu"',
    "data.folder=../data",
    "optimizer.steps=2",
    "validation.interval=1",
    "validation.samples=1",
    "checkpoints.interval=1",
)
_STAGE_TWO = (*_RUN, "model.base=mini-sft", "rollout.rows=8", "validation.rows=2")
COMMANDS = {
    "generate": Command(("generate", "a red cat, [film grain:late]", "--seeds", "2", *_DRAW), ("--force",)),
    "compare": Command(
        ("compare", "a red cat on a hill", "--seeds", "2", "--reward", "none", *_DRAW),
        ("--resume",),
        "rows.jsonl",
    ),
    "evaluate": Command(
        (
            *(
                "evaluate",
                "--prompts",
                "../prompts.txt",
                "--methods",
                "plain,suffix",
                "--suffix",
                "film grain",
            ),
            *("--seeds", "2", "--validation-images", "0", *_DRAW),
        ),
        (),
        "rows.jsonl",
    ),
    "ablate": Command(
        (
            *("ablate", "weight", "--prompts", "../prompts.txt", "--modifiers", "film grain", "--seeds", "1"),
            *_DRAW,
        ),
        (),
        "rows.jsonl",
        slow=True,
    ),
    "tune": Command(
        ("tune", "a red cat on a hill", "--images", "16", *_DRAW), ("--resume",), "rows.jsonl", slow=True
    ),
    "curate": Command(("curate", "../logs.txt", "--no-images"), ("--resume",), "recipe.toml"),
    "train sft": Command(
        (
            "train",
            "sft",
            *_set(*_RUN, "model.base=mini", "optimizer.batch_size=4", "optimizer.micro_batch_size=4"),
        ),
        ("--resume",),
        "recipe.toml",
    ),
    "train grpo": Command(
        ("train", "grpo", *_set(*_STAGE_TWO, "group.size=4", "rollout.control_draws=1")),
        ("--resume",),
        "recipe.toml",
        slow=True,
    ),
    "train ppo": Command(("train", "ppo", *_set(*_STAGE_TWO)), ("--resume",), "recipe.toml", slow=True),
}


def write_inputs(place: Path) -> None:
    """What the commands read: prompts, logs and rows to train on, beside the folder they run in."""
    place.mkdir(parents=True, exist_ok=True)
    (place / "prompts.txt").write_text("\n".join(_SHORTS[:2]) + "\n")
    logs = [
        f"{short}, {style}, golden hour"
        for short in _SHORTS
        for style in ("film grain", "bokeh", "8k", "soft glow")
    ]
    (place / "logs.txt").write_text("\n".join(logs) + "\n")
    (place / "data").mkdir(exist_ok=True)
    rows = [
        {"short": short, "modifiers": ["golden hour", "film grain"][: 1 + at % 2], "kept": at % 5 != 0}
        for at, short in enumerate(_SHORTS * 6)
    ]
    for name in ("train", "validation"):
        (place / "data" / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
