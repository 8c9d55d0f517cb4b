"""The lockstep loop: evaluations done and saved, and its wall time beside the same pictures drawn apart.

python benchmarks/bench_lockstep.py                   a small random-weight pipeline of SD 1.5's layout
python benchmarks/bench_lockstep.py --pairs 5         more alternated pairs
python benchmarks/bench_lockstep.py --pipeline X      a pipeline folder of your own
Both ways draw every row guided, under the same scheduler, in one batch; encoding and decoding included.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel

import dfprompt
from dfprompt.pipeline.image_pipeline import ImagePipeline, Pictures
from dfprompt.pipeline.load import load_pipeline_from
from dfprompt.prompt import make_plan, parse_prompt
from dfprompt.requests.render import RenderSettings
from machine import header

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from tiny_pipelines import build

STEPS = 10
SCHEDULERS = ("ddim", "euler", "dpmpp_2m", "unipc")
RANGES = ("1->0", "1->0.5", "0.5->0", "0.75->0.25", "0.25->0")
ABLATION = ["a red horse", *(f"a red horse[, old film grain:{span}]" for span in RANGES)]
SWEEP = ["a red horse", *(f"a red horse[, old film grain:1->{tenth / 10}]" for tenth in range(10))]
CASES = {
    "one modifier's ranges, with plain": (ABLATION, 39),
    "a sweep 1->0.9 ... 1->0, with plain": (SWEEP, 65),
}


def make_pipeline() -> ImagePipeline:
    """Stable Diffusion's layout at 16 x 16 latents, narrow, so that a run takes seconds on one core."""
    pipe: StableDiffusionPipeline = build("sd1")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        pipe.unet = UNet2DConditionModel(
            sample_size=16,
            cross_attention_dim=32,
            block_out_channels=(32, 64, 64),
            attention_head_dim=8,
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        ).eval()
    return ImagePipeline(pipe)


def distinct_pairs(prompts: Sequence[str]) -> int:
    """Count distinct pairs of noise and text heard so far, one noise for all, from the plans alone."""
    heard = [
        [(step.text, step.weights) for step in make_plan(parse_prompt(each), STEPS).steps] for each in prompts
    ]
    return len({tuple(row[: k + 1]) for row in heard for k in range(STEPS)})


def timed(
    pipeline: ImagePipeline, prompts: Sequence[str], scheduler: str, *, share: bool
) -> tuple[float, Pictures]:
    """Draw the prompts with one seed; return the seconds and the pictures."""
    settings = RenderSettings(num_inference_steps=STEPS, scheduler=scheduler)
    start = time.perf_counter()
    drawn = pipeline.draw(list(prompts), 7, settings, share=share)
    return time.perf_counter() - start, drawn


def compare(pipeline: ImagePipeline, name: str, prompts: Sequence[str], expected: int, pairs: int) -> bool:
    """Alternate both ways under every scheduler, print counts and ratios; False if a count is off."""
    together = STEPS * len(prompts)
    naive, right = distinct_pairs(prompts), True
    print(f"  {name}: {len(prompts)} rows of {STEPS} steps, {naive} distinct computations by hand")
    for scheduler in SCHEDULERS:
        ratios, apart = [], 0.0
        for pair in range(pairs):
            order = (True, False) if pair % 2 else (False, True)
            runs = {share: timed(pipeline, prompts, scheduler, share=share) for share in order}
            ratios.append(runs[True][0] / runs[False][0])
            apart = runs[False][0]
        shared, plain = runs[True][1], runs[False][1]
        exact = (shared.evaluations, shared.saved) == (naive, together - naive) and naive == expected
        right &= exact
        difference = (shared.images - plain.images).abs().max()
        print(
            f"    {scheduler:8}  {shared.evaluations} of {together} evaluations, {shared.saved} saved "
            f"({'exact' if exact else f'WRONG, {expected} expected'}, {naive / together:.3f}); "
            f"wall time {statistics.median(ratios):.3f} of drawing apart "
            f"({min(ratios):.3f} to {max(ratios):.3f}, {apart * 1e3:.0f} ms); "
            f"largest difference {difference:.1e}"
        )
    return right


def main() -> int:
    """Print both cases; 1 if an evaluation was made twice or left out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3, help="alternated pairs of runs for each scheduler")
    parser.add_argument("--pipeline", help="a pipeline folder, by default small random weights")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore", dfprompt.DFPromptWarning)
    print(header("The lockstep loop: shared evaluations against every picture by itself"))
    pipeline = load_pipeline_from(chosen.pipeline) if chosen.pipeline else make_pipeline()
    timed(pipeline, ABLATION[:2], "ddim", share=True)  # warm up
    results = [
        compare(pipeline, name, prompts, expected, chosen.pairs)
        for name, (prompts, expected) in CASES.items()
    ]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())
