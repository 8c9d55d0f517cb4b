"""The mini world's model card: what was built, how, and every quality with its number."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dfprompt.mini.world import HELD_OUT_PAIRS
from worlds.mini.check import Check
from worlds.mini.freeze import compute_digests

_INTRO = """---
license: apache-2.0
---
# The mini world of dfprompt

A 64 x 64 text-to-image world trained from scratch on procedurally drawn pictures: no third-party pictures,
texts or weights. It shows that code which optimises prompts learns what this world contains; it says nothing
about real models.

![samples](samples.png)

| folder | opens with |
|---|---|
| `pipeline` | `diffusers.StableDiffusionPipeline.from_pretrained` |
| `clip`, `preference` | `transformers.CLIPModel.from_pretrained` |
| `lm` | `transformers.AutoModelForCausalLM.from_pretrained` |
| `aesthetic` | the aesthetic head on the embeddings of `clip` |
| `judge` | subject, colour and scene classifiers, trained on renders only; never part of a reward |
"""


def make_card(
    weights: Path,
    checks: Sequence[Check],
    judged: Mapping[str, Mapping[str, float]],
    *,
    record: Mapping[str, Any] | None = None,
    headroom: Mapping[str, Any] | None = None,
) -> str:
    """The card as markdown.

    `judged` is what the judge reads (%) from renders by modifier and kind of fact; `record` a build's
    build.json; `headroom` what `measure_mini_headroom` returned.
    """
    parts = [_INTRO, _quality(checks), _judges(judged)]
    if headroom is not None:
        parts.append(_headroom(headroom))
    if record is not None:
        parts.append(_build(record))
    pairs = ", ".join(f"{subject} / {scene}" for subject, scene in sorted(HELD_OUT_PAIRS))
    parts.append(f"## Held out from every training\nSubject and scene together: {pairs}.\n")
    rows = "\n".join(f"| {part} | `{value}` |" for part, value in compute_digests(weights).items())
    parts.append(f"## Digests\n| part | digest |\n|---|---|\n{rows}\n")
    return "\n".join(parts)


def _quality(checks: Sequence[Check]) -> str:
    rows = []
    for c in checks:
        reached = "yes" if c.reached else "**no**"
        rows.append(f"| {c.name} | {c.measured} | {c.goal} | {reached} | {c.measured_on} |")
    head = "| what | measured | goal | reached | on |\n|---|---|---|---|---|\n"
    return f"## Quality\nBrackets: 95 % intervals of shares.\n\n{head}" + "\n".join(rows) + "\n"


def _judges(judged: Mapping[str, Mapping[str, float]]) -> str:
    kinds = list(next(iter(judged.values())))
    rows = [
        f"| {name or '(none)'} | " + " | ".join(f"{values[kind]:.1f}" for kind in kinds) + " |"
        for name, values in judged.items()
    ]
    return (
        "## What the judges read from renders with each modifier, in percent\n"
        f"| modifier | {' | '.join(kinds)} |\n|---{'|---' * len(kinds)}|\n" + "\n".join(rows) + "\n"
    )


def _headroom(headroom: Mapping[str, Any]) -> str:
    rows = []
    for title, key, arm in (
        ("plain to the default pair (full, 1)", "plain_to_default", "default"),
        ("default to the best single pair", "default_to_single", "single"),
        ("best single pair to each modifier's best", "single_to_modifier", "modifier"),
        ("each modifier's to each scene's best", "modifier_to_scene", "scene"),
    ):
        gain, kept = headroom[key], headroom["fidelity"][arm]
        rows.append(
            f"| {title} | {gain['mean']:+.3f} [{gain['low']:+.3f}, {gain['high']:+.3f}] "
            f"| {kept['mean']:+.1f} [{kept['low']:+.1f}, {kept['high']:+.1f}] |"
        )
    best = ", ".join(f"{name} ({pair})" for name, pair in headroom["best_pairs"].items())
    return (
        f"## Control headroom in {headroom['by']}, before any reinforcement learning\n"
        f"All 15 pairs of every modifier, {headroom['per_scene']} prompts in each scene; pairs are chosen on "
        "one half of the prompts and measured on the other. Brackets: 95 % intervals over prompts.\n\n"
        "| step | gain | subject kept against plain, points |\n|---|---|---|\n"
        + "\n".join(rows)
        + f"\n\nPleasing modifiers and their best pair: {best}. The commonest best pair serves "
        f"{100 * headroom['commonest_share']:.0f} % of them.\n"
    )


def _build(record: Mapping[str, Any]) -> str:
    stages = "\n".join(
        f"| {name} | {stage['seconds'] / 60:.1f} | {stage['device']}, {stage['threads']} thread(s) |"
        for name, stage in record["stages"].items()
    )
    origin = ""
    if "started_from" in record:
        earlier = record["started_from"]
        origin = f"The autoencoder and the denoiser were trained on from an earlier build (`{earlier}`).\n\n"
    for stage, how in record.get("trained_further", {}).items():
        origin += f"Trained further after this build: {stage}, {how}.\n\n"
    return (
        f"## How it was built\n{origin}"
        "Minutes are those of a stage's last stretch, after its last interruption.\n\n"
        f"| stage | minutes | on |\n|---|---|---|\n{stages}\n\n"
        f"```json\n{json.dumps(record['recipe'], indent=1)}\n```\n"
    )
