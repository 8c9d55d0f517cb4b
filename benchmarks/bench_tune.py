"""Tuning on the mini world: how often 48 pictures beat the plain prompt, and at what cost in what was asked.

python benchmarks/bench_tune.py                       20 held-out prompts, 48 pictures each
python benchmarks/bench_tune.py --prompts 100         more of them
python benchmarks/bench_tune.py --output FOLDER       keep the pictures; the same folder again goes on
A prompt counts as beaten where tune answers with a DF-Prompt: its gain on seeds that chose nothing has an
interval above 0. The reference is the plain prompt; best-of-n over the plain pictures stands beside it.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.tuning import JOURNAL, tune_prompt
from machine import header


def measure(prompts: int, images: int, folder: Path) -> list[dict[str, Any]]:
    """Tune so many held-out prompts; their answers as JSON values."""
    load_pipeline("mini")
    answers = []
    for number, prompt in enumerate(make_mini_prompts(prompts)):
        place = folder / f"{number:03d}"
        run = tune_prompt(prompt.text, place, images=images, seed=number, resume=(place / JOURNAL).exists())
        answers.append(run.to_json())
        print(f"  {prompt.text}: {answers[-1]['df_prompt'] or answers[-1]['answer']}", flush=True)
    return answers


def gain(answer: dict[str, Any], score: str) -> float:
    """What the answer brings in a score, fresh seeds: 0 where the plain prompt is the answer."""
    if answer["df_prompt"] is None:
        return 0.0
    return next(float(line["difference"]) for line in answer["scores"] if line["score"] == score)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--output", type=Path)
    asked = parser.parse_args()
    print(header("tuning on the mini world"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        answers = measure(asked.prompts, asked.images, asked.output or Path(scratch))
    seconds = (time.perf_counter() - began) / len(answers)
    beaten = sum(answer["df_prompt"] is not None for answer in answers) / len(answers)
    first = statistics.mean(answer["evaluations"]["saved_share_first_round"] for answer in answers)
    whole = statistics.mean(answer["evaluations"]["saved_share"] for answer in answers)
    reward = statistics.mean(gain(answer, answer["reward"]) for answer in answers)
    fidelity = statistics.mean(gain(answer, "fidelity") for answer in answers)
    print(f"plain prompt beaten            {beaten:.0%} of {len(answers)} prompts (goal: 80 %)")
    print(f"reward, answer minus plain     {reward:+.3f} on the mean")
    best = [answer["best_of_n"] for answer in answers if answer["best_of_n"] and answer["df_prompt"]]
    if best:
        over = statistics.mean(each["finalist_mean"] - each["best_plain"] for each in best)
        both = statistics.mean(each["finalist_best"] - each["best_plain"] for each in best)
        print(f"one picture of the answer minus the best of {best[0]['n']} plain ones {over:+.3f}")
        print(f"the best of as many in both                          {both:+.3f}")
    print(f"fidelity, answer minus plain   {100 * fidelity:+.2f} points on the mean (goal: not below -1)")
    print(f"evaluations saved by sharing   {first:.0%} in the first round (goal: 30 %), {whole:.0%} in all")
    print(f"seconds per prompt             {seconds:.1f}")


if __name__ == "__main__":
    main()
