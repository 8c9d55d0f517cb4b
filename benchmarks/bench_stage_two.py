"""Stage 2 on mini: pictures per second of whole steps, beside drawing alone and one prompt at a time.

python benchmarks/bench_stage_two.py            4 steps of 32 rows by PPO and GRPO, each with and without the
                                                critic of controls, after one that warms up
python benchmarks/bench_stage_two.py --steps 8 --rows 64
After every step the same rewrites are drawn again by the references, so that all see the same machine:
  bare       the stock diffusers call on their texts, one batch, no ranges, weights or sharing
  one by one drawn and scored one prompt at a time
  with plain the same, and the plain picture drawn and scored each time
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dfprompt.api import picture_work, reinforcement
from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.reinforcement import Algorithm
from dfprompt.prompt import DFPrompt
from dfprompt.rewards.composite import RewardTerms
from dfprompt.training.picture_reward import PictureReward
from dfprompt.training.rollout import Attempt
from machine import header

RECIPES = Path(__file__).parents[1] / "recipes"
APART = 8  # of a step's rows, drawn one by one
_CRITIC = (
    "critic.use=true", "critic.warmup=1", "optimizer.heads_rate=5", "optimizer.centre_heads=true",
    "group.size=8", "rollout.max_modifiers=2",
)  # fmt: skip
# Each with its recipe and what is changed in it; the critic's one warm-up step is the one left out.
ARMS: dict[str, tuple[Algorithm, str, tuple[str, ...]]] = {
    "ppo": ("ppo", "mini-ppo", ()),
    "grpo": ("grpo", "mini-grpo", ()),
    "ppo with the critic": ("ppo", "mini-ppo", _CRITIC),
    "grpo with the critic": ("grpo", "mini-grpo-critic", ("critic.warmup=1",)),
}
GOALS = {"bare": 0.85, "one by one": 3.0, "with plain": 5.0}


class Watched(PictureReward):
    """The reward of the run, keeping what it was asked last and what drawing it took."""

    attempts: Sequence[Attempt] = ()
    drawing = scoring = 0.0

    def __call__(self, attempts: Sequence[Attempt]) -> RewardTerms:
        started, before = time.perf_counter(), self.drawing
        terms = super().__call__(attempts)
        if not any(each.watched for each in attempts):
            self.attempts = attempts
        self.scoring += time.perf_counter() - started - (self.drawing - before)
        return terms

    def _draw(self, prompts: Sequence[DFPrompt], seeds: Sequence[int]) -> Tensor:
        started = time.perf_counter()
        images = super()._draw(prompts, seeds)
        self.drawing += time.perf_counter() - started
        return images


def seconds(work: Callable[[], object]) -> float:
    """How long it took."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def bare(reward: Watched) -> float:
    """Pictures per second of the stock call on the rewrites' plain texts."""
    pipe, attempts = reward.pipeline.pipe, reward.attempts
    settings = reward.pipeline.resolve(reward.settings)
    texts = [
        ", ".join([each.rewrite.plain, *(span.text for span in each.rewrite.modifiers)]) for each in attempts
    ]
    generators = [torch.Generator().manual_seed(each.image_seed) for each in attempts]

    def draw() -> object:
        return pipe(
            texts,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            height=settings.height,
            width=settings.width,
            generator=generators,
            output_type="pt",
        )

    return len(attempts) / seconds(draw)


def apart(reward: Watched, *, plain: bool) -> float:
    """Pictures per second of rewrites drawn and scored one at a time; `plain`: and their plain pictures."""
    some = reward.attempts[:APART]
    score = reward.reward

    def work() -> None:
        for each in some:
            for prompt in [
                each.rewrite.prompt,
                *([DFPrompt.from_plain(each.rewrite.plain)] if plain else []),
            ]:
                image = reward.pipeline.draw([prompt], [each.image_seed], reward.settings).images
                score(image, [each.rewrite.plain], [dict(each.record or {})])

    return len(some) / seconds(work)


def measure(arm: str, asked: argparse.Namespace, folder: Path) -> tuple[list[dict[str, float]], Watched]:
    """Rows of pictures per second, one per step but the first (it warms up) and the last (it validates)."""
    data = folder / "data"
    data.mkdir()
    lines = [json.dumps({"short": each.text, "modifiers": []}) for each in make_mini_prompts(96)]
    for name in ("train", "validation"):
        (data / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    rewards: list[Watched] = []
    made = picture_work.make_picture_reward

    def watched(*arguments: Any, **options: Any) -> Watched:
        plain = made(*arguments, **options)
        rewards.append(
            Watched(plain.pipeline, plain.reward, plain.settings, judges=plain.judges, share=plain.share)
        )
        return rewards[0]

    rows: list[dict[str, float]] = []
    last = {"drawing": 0.0, "scoring": 0.0}

    def report(row: Mapping[str, Any]) -> None:
        reward = rewards[0]
        spent = {name: getattr(reward, name) - last[name] for name in last}
        whole = row["rollout_seconds"] + row["update_seconds"]
        count = len(reward.attempts)
        rows.append(
            {
                "stage 2": count / whole,
                "rollout": count / row["rollout_seconds"],
                "sampling": 1 - (spent["drawing"] + spent["scoring"] + row["update_seconds"]) / whole,
                "drawing": spent["drawing"] / whole,
                "scoring": spent["scoring"] / whole,
                "update": row["update_seconds"] / whole,
                "bare": bare(reward),
                "one by one": apart(reward, plain=False),
                "with plain": apart(reward, plain=True),
            }
        )
        last.update({name: getattr(reward, name) for name in last})

    algorithm, recipe, own = ARMS[arm]
    changes = [
        *own,
        f"data.folder={data}",
        f"rollout.rows={asked.rows}",
        f"rollout.batch_size={asked.rows}",
        f"optimizer.steps={asked.steps + 2}",
        "validation.interval=1000",
        "validation.rows=1",
        "reward.judges=[]",
        'reward.meaning=""',
        'device="cpu"',
    ]
    picture_work.make_picture_reward = watched
    try:
        reinforcement.run_reinforcement(
            algorithm, RECIPES / f"{recipe}.toml", changes, output=folder / "run", report=report
        )
    finally:
        picture_work.make_picture_reward = made
    return rows[1:-1], rewards[0]


def show(arm: str, asked: argparse.Namespace) -> bool:
    """Measure and print one algorithm's table; whether all goals are reached."""
    with tempfile.TemporaryDirectory() as folder:
        rows, reward = measure(arm, asked, Path(folder))
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    shares = ", ".join(f"{name} {median[name]:.0%}" for name in ("sampling", "drawing", "scoring", "update"))
    print(f"{arm}: whole steps {median['stage 2']:.2f} pictures/s, rollouts {median['rollout']:.2f}")
    print(f"  of its time: {shares}")
    total = reward.spent.evaluations + reward.spent.saved
    print(f"  denoiser evaluations saved by sharing: {reward.spent.saved / total:.1%} of {total}")
    all_reached = True
    for name, goal in GOALS.items():
        ratios = [row["stage 2"] / row[name] for row in rows]
        ratio, reached = statistics.median(ratios), statistics.median(ratios) >= goal
        all_reached &= reached
        print(
            f"  against {name:10} ({median[name]:6.2f} pictures/s): {ratio:.2f}x "
            f"({min(ratios):.2f} to {max(ratios):.2f}; goal {goal:g}: {'reached' if reached else 'missed'})"
        )
    return all_reached


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; 1 if a goal is missed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--arms", default=",".join(ARMS), help="some of: " + ", ".join(ARMS))
    asked = parser.parse_args(arguments)
    print(header(f"stage 2 on mini: {asked.rows} rows a step, {torch.get_num_threads()} thread(s)"))
    reached = [show(arm, asked) for arm in asked.arms.split(",")]
    return int(not all(reached))


if __name__ == "__main__":
    sys.exit(main())
