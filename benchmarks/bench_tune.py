"""Tuning held-out prompts of the mini world: how often 48 pictures beat the plain prompt, and at what cost.

python benchmarks/bench_tune.py                       20 held-out prompts, 48 pictures each
python benchmarks/bench_tune.py --prompts 100 --output FOLDER   more; the same folder again goes on
python benchmarks/bench_tune.py --best-of-n --images 80         best-of-n at equal images for every prompt
python benchmarks/bench_tune.py --smoke               2 prompts, 27 pictures: whether it runs
A prompt counts as beaten where tune answers with a DF-Prompt: its gain on seeds that chose nothing passed
the test. Where plain is the answer, differences count as 0.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dfprompt.api.mini_evaluation import make_mini_prompts
from dfprompt.api.pipelines import load_pipeline
from dfprompt.api.tuning import JOURNAL, tune_prompt
from machine import header

JUDGE = "fidelity"
SMOKE = {"prompts": 2, "images": 27}
Answer = dict[str, Any]


def measure(asked: argparse.Namespace, folder: Path) -> list[Answer]:
    """Tune so many held-out prompts, each in a folder of its own; their answers as JSON values."""
    pipeline = load_pipeline(asked.pipeline, device="cpu")
    # A pipeline by folder is no world by name: the mini reward and judge are asked for in words.
    scores = {"rewards": ["mini"], "judges": ["mini"]}
    answers = []
    for number, prompt in enumerate(make_mini_prompts(asked.prompts)):
        place = folder / f"{number:03d}"
        run = tune_prompt(
            prompt.text,
            place,
            pipeline=pipeline,
            images=asked.images,
            seed=number,
            policy=asked.policy,
            best_of_n=True if asked.best_of_n else None,
            resume=(place / JOURNAL).exists(),
            device="cpu",
            **scores,
        )
        answers.append(run.to_json())
        print(f"  {prompt.text}: {answers[-1]['df_prompt'] or answers[-1]['answer']}", flush=True)
    return answers


def gain(answer: Answer, score: str) -> float:
    """What the answer brings in a score, fresh seeds: 0 where the plain prompt is the answer."""
    if answer["df_prompt"] is None:
        return 0.0
    return next(float(line["difference"]) for line in answer["scores"] if line["score"] == score)


def show_best_of(answers: Sequence[Answer]) -> None:
    """Print how the finalists stand beside best-of-n, at equal images and where those were not left."""
    for equal in (True, False):
        found = [
            answer["best_of_n"]
            for answer in answers
            if answer["best_of_n"] and answer["best_of_n"]["equal_images"] is equal
        ]
        name = "best-of-n, equal images" if equal else "best-of-n, fewer images than the search"
        if not found:
            print(f"{name}: no prompt")
            continue
        new = statistics.mean(each["finalist_mean"] - each["best_plain"] for each in found)
        best = statistics.mean(each["finalist_best"] - each["best_plain"] for each in found)
        shown = statistics.mean(each["n"] for each in found)
        own = statistics.mean(each["finalist_pictures"] for each in found)
        print(f"{name}: {len(found)} prompts, n {shown:.0f} on the mean")
        print(f"  one new picture of the finalist minus the best plain one   {new:+.3f}")
        print(f"  the best of the finalist's {own:.0f} minus the best plain one       {best:+.3f}")


def show(answers: Sequence[Answer], seconds: float) -> None:
    """Print shares, differences and costs."""
    count, reward = len(answers), answers[0]["reward"]
    beaten = sum(answer["df_prompt"] is not None for answer in answers)
    evaluations = [answer["evaluations"] for answer in answers]
    first = statistics.mean(each["saved_share_first_round"] for each in evaluations)
    whole = statistics.mean(each["saved_share"] for each in evaluations)
    done = sum(each["first_round"]["done"] for each in evaluations)
    saved = sum(each["first_round"]["saved"] for each in evaluations)
    judged = statistics.mean(gain(answer, JUDGE) for answer in answers)
    rewarded = statistics.mean(gain(answer, reward) for answer in answers)
    print(f"plain prompt beaten            {beaten} of {count} prompts, {beaten / count:.0%} (goal: 80 %)")
    print(f"{reward}, answer minus plain     {rewarded:+.3f} on the mean")
    print(f"{JUDGE}, answer minus plain   {100 * judged:+.2f} points on the mean (goal: not below -1)")
    show_best_of(answers)
    print(f"evaluations saved, round one   {first:.0%} (goal: 30 %): {done} done, {saved} saved")
    print(f"evaluations saved, in all      {whole:.0%}")
    print(f"images per prompt              {statistics.mean(a['images']['measured'] for a in answers):.1f}")
    print(f"seconds per prompt             {seconds:.1f} of drawing and scoring")


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pipeline", default="mini", help="mini, or a folder with its pipeline")
    parser.add_argument("--prompts", type=int, default=20)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--policy", help="a policy whose rewrites are tried too")
    parser.add_argument("--best-of-n", action="store_true", help="keep images for best-of-n at equal images")
    parser.add_argument("--output", type=Path, help="keep everything there; the same folder goes on")
    parser.add_argument("--smoke", action="store_true", help="two prompts, few pictures")
    asked = parser.parse_args()
    if asked.smoke:
        vars(asked).update(SMOKE)
    print(header(f"Tuning {asked.prompts} held-out prompts of the mini world, {asked.images} images each"))
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as scratch:
        answers = measure(asked, asked.output or Path(scratch))
    show(answers, statistics.mean(answer["seconds"] for answer in answers))
    print(f"seconds of this run            {time.perf_counter() - began:.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
