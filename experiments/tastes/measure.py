"""What one policy gains by each population's raters when it writes for each taste.

    python experiments/tastes/measure.py RUN/policy experiments/tastes/gains.md [PROMPTS [NOISES]]

Held-out prompts, every arm on the same noises, single precision; the judges are the raters' formulas, which
nothing was trained on, and the mini judge for fidelity. Intervals are over prompts.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from dfprompt.api.mini_evaluation import NOTE, make_mini_prompts
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.policies import load_policy
from dfprompt.api.rewards import load_reward
from dfprompt.api.world import mini_folder
from dfprompt.mini.judge import Judge
from dfprompt.mini.populations import POPULATIONS, population_taste
from dfprompt.mini.raters import taste
from dfprompt.mini.renderer import make_scene
from dfprompt.policy import SamplingSettings
from dfprompt.policy.tastes import parse_taste
from dfprompt.prompt import DFPrompt
from dfprompt.rewards import ImageBatch
from dfprompt.statistics.intervals import mean_with_interval

FIRST_NOISE = 7200
ARMS = {"nobody in particular": "", **{name: name for name in POPULATIONS}}
ARMS["half of each"] = ",".join(f"{name}:0.5" for name in POPULATIONS)


def main() -> None:
    policy, path = load_policy(sys.argv[1]), Path(sys.argv[2])
    count, noises = (int(each) for each in [*sys.argv[3:], "48", "1"][:2])
    prompts = make_mini_prompts(count)
    pipeline, judge = load_pipeline("mini"), Judge.load(mini_folder("judge"))
    asked = [
        make_scene(*(each.record[name] for name in ("subject", "colour", "scene")), seed=0)
        for each in prompts
    ]
    scenes = [str(each.record["scene"]) for each in prompts]
    texts = [each.text for each in prompts]
    arms = {"plain": [DFPrompt.from_plain(text) for text in texts]}
    alone = {}
    for name, mix in ARMS.items():
        settings = SamplingSettings(taste=parse_taste(mix) if mix else ())
        found = policy.rewrite(texts, list(range(count)), settings)
        arms[name] = [each.prompt for each in found]
        alone[name] = sum(not each.changed for each in found)
        words = [span.text for each in found for span in each.modifiers]
        common = sorted(set(words), key=lambda word: (-words.count(word), word))[:4]
        print(name, [(word, words.count(word)) for word in common], str(found[0].prompt))
    heads = {name: load_reward(f"mini-{name}").parts["aesthetic"] for name in POPULATIONS}  # type: ignore[attr-defined]
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {name: [] for name in POPULATIONS}
    scored: dict[str, dict[str, list[np.ndarray]]] = {}
    for noise in range(FIRST_NOISE, FIRST_NOISE + noises):
        for name, rewrites in arms.items():
            seeds = [1000 * noise + at for at in range(count)]
            drawn = [pipeline.draw(rewrites[at : at + 32], seeds[at : at + 32]) for at in range(0, count, 32)]
            images = torch.cat([each.images for each in drawn])
            for each, head in heads.items():
                seen[each].append(
                    (head.score_batch(ImageBatch(images), texts), population_taste(each, images, scenes))
                )
            kept = judge.correct(images, asked)
            columns = {each: population_taste(each, images, scenes) for each in POPULATIONS}
            columns |= {"the world's own": taste(images, scenes)}
            columns |= {"fidelity": 50.0 * (kept["subject"].float() + kept["colour"].float())}
            for each, values in columns.items():
                scored.setdefault(name, {}).setdefault(each, []).append(values.double().numpy())
    gains = {
        name: {each: np.mean(rows, 0) - np.mean(scored["plain"][each], 0) for each, rows in columns.items()}
        for name, columns in scored.items()
        if name != "plain"
    }
    learnt = {name: correlation(*map(torch.cat, zip(*pairs, strict=True))) for name, pairs in seen.items()}
    said = ", ".join(f"{name} {value:.2f}" for name, value in learnt.items())
    page = table(gains, alone, count, noises)
    page += f"\nCorrelation of the heads with their raters' formulas on these pictures: {said}.\n"
    path.write_text(page, encoding="utf-8")
    print(path.read_text())


def correlation(one: torch.Tensor, two: torch.Tensor) -> float:
    """Pearson's, of two columns."""
    return float(torch.corrcoef(torch.stack([one.float().cpu(), two.float().cpu()]))[0, 1])


def table(gains: dict[str, dict[str, np.ndarray]], alone: dict[str, int], count: int, noises: int) -> str:
    """The page: gains over plain by every population's raters, and how much larger the own ones' are."""
    raters = [*POPULATIONS, "the world's own"]
    said = [
        NOTE,
        "",
        f"{count} held-out prompts, {noises} noise per prompt, over the plain prompt, 95 % over prompts.",
        "",
    ]
    said += ["| written for | " + " | ".join(raters) + " | fidelity, points | left alone |", "|---" * 6 + "|"]
    for name, columns in gains.items():
        cells = [
            f"{m.mean:+.2f} ({m.low:+.2f} to {m.high:+.2f})"
            for m in map(mean_with_interval, map(columns.get, raters))
        ]  # type: ignore[arg-type]
        lost = mean_with_interval(columns["fidelity"])
        cells.append(f"{lost.mean:+.1f} ({lost.low:+.1f} to {lost.high:+.1f})")
        said.append(f"| {name} | " + " | ".join(cells) + f" | {alone[name]} of {count} |")
    said += [
        "",
        "| written for | own gain | other population's gain | own minus 1.5 x other's |",
        "|---" * 4 + "|",
    ]
    for name in POPULATIONS:
        (other,) = [each for each in POPULATIONS if each != name]
        own, theirs = gains[name][name], gains[name][other]
        margin = mean_with_interval(own - 1.5 * theirs)
        said.append(
            f"| {name} | {own.mean():+.2f} | {theirs.mean():+.2f} "
            f"| {margin.mean:+.2f} ({margin.low:+.2f} to {margin.high:+.2f}) |"
        )
    return "\n".join(said) + "\n"


if __name__ == "__main__":
    main()
