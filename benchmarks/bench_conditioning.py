"""Conditioning: what DF-Prompts cost beside plain prompts, and compiling beside compel, in one run.

Random weights at Stable Diffusion 1.5's shape. On a CPU the full run takes minutes, so by default two
steps are run, which charges all of the encoding to a fifth of the paper's ten; more with
`python benchmarks/bench_conditioning.py --steps 10 --pairs 5`.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from diffusers.utils import logging
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

import dfprompt
from dfprompt.conditioning.cache import EncodingCache
from dfprompt.conditioning.compile import compile_prompts
from dfprompt.conditioning.families import adapter_for
from dfprompt.conditioning.options import Options
from dfprompt.conditioning.schedule import Schedule
from dfprompt.prompt import parse_prompt
from dfprompt.statistics.student_t import student_quantile
from machine import best_seconds, header

PLAIN = [f"a {colour} horse in the snow" for colour in "red blue green gold grey white black pink".split()]
SPANS = [
    ", [film grain:late]",
    ", [anime style:early:1.5]",
    ", [golden hour::1.25], [sharp:0.75->0.25]",
    ", [vignette:0.5->0:0.75]",
    ", [soft focus:1->0.5:0.5], [grain:late]",
    ", [neon:1->0:0.5->1.5]",
    ", [old photo:0.8->0.3]",
    ", [bokeh:early], [dramatic lighting:late:1.25]",
]
DYNAMIC = [plain + span for plain, span in zip(PLAIN, SPANS, strict=True)]
MINI = Path(__file__).resolve().parents[1] / "src" / "dfprompt" / "mini"


def make_pipeline() -> StableDiffusionPipeline:
    """Stable Diffusion 1.5's denoiser and text encoder, random weights; a small autoencoder, never run."""
    letters = sorted(ByteLevel.alphabet())
    pieces = [*letters, *(letter + "</w>" for letter in letters)]
    fillers = [f"<unused{number}>" for number in range(49_406 - len(pieces))]
    vocab = {piece: at for at, piece in enumerate([*pieces, *fillers, "<|startoftext|>", "<|endoftext|>"])}
    config = CLIPTextConfig(
        vocab_size=len(vocab),
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        eos_token_id=49_407,
    )
    pipe = StableDiffusionPipeline(
        vae=AutoencoderKL(
            block_out_channels=(8, 8, 8, 8),
            norm_num_groups=4,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        ),
        text_encoder=CLIPTextModel(config).eval(),
        tokenizer=CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77),
        unet=UNet2DConditionModel(
            sample_size=64,
            cross_attention_dim=768,
            block_out_channels=(320, 640, 1280, 1280),
            attention_head_dim=8,
        ).eval(),
        scheduler=UniPCMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1
        ),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def run_plain(pipe: Any, steps: int, size: int | None) -> None:
    """The stock call with plain prompts, encoding included."""
    pipe(PLAIN, num_inference_steps=steps, height=size, width=size, output_type="latent")


def run_dynamic(pipe: Any, steps: int, size: int | None) -> None:
    """The same call with eight different DF-Prompts, nothing cached."""
    inputs = dfprompt.prepare(pipe, DYNAMIC, num_inference_steps=steps, cache=EncodingCache())
    pipe(**inputs, height=size, width=size, output_type="latent")


def seconds(work: Callable[[], object]) -> float:
    """Return how long one run takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def print_ratio(name: str, pipe: Any, steps: int, size: int | None, pairs: int) -> None:
    """Alternate plain and dynamic runs; print the ratio pair by pair, with its interval."""
    run_plain(pipe, 1, size)  # the first run also allocates and warms up
    ratios, plains = [], []
    for pair in range(pairs):
        order = [run_plain, run_dynamic] if pair % 2 == 0 else [run_dynamic, run_plain]
        taken = {run: seconds(lambda run=run: run(pipe, steps, size)) for run in order}
        plains.append(taken[run_plain])
        ratios.append(taken[run_dynamic] / taken[run_plain])
    print(f"  {name}: 8 DF-Prompts / 8 plain prompts, encoding included, goal <= 1.02")
    print(f"    wall time ratio of {pairs} alternated pairs of {steps} steps: {interval(ratios)}")
    print(f"    a plain run takes {statistics.median(plains) * 1e3:.0f} ms")
    print_parts(pipe, steps, statistics.median(plains))


def interval(ratios: list[float]) -> str:
    """Return the geometric mean with its 95 % interval, or the only value there is."""
    logs = [math.log(ratio) for ratio in ratios]
    middle = statistics.mean(logs)
    if len(logs) == 1:
        return f"{math.exp(middle):.4f} (one pair has no interval)"
    # Student's quantile: a handful of pairs knows little of its own spread.
    half = student_quantile(0.95, len(logs) - 1) * statistics.stdev(logs) / len(logs) ** 0.5
    low, high = math.exp(middle - half), math.exp(middle + half)
    return f"{math.exp(middle):.4f} (95 % interval {low:.4f} to {high:.4f})"


def print_parts(pipe: Any, steps: int, plain_run: float) -> None:
    """Time what differs between the two runs by itself: noise of the denoiser left out."""
    with torch.no_grad():
        stock = best_seconds(lambda: pipe.encode_prompt(PLAIN, "cpu", 1, True), repeats=3)
    ours = best_seconds(
        lambda: dict(dfprompt.prepare(pipe, DYNAMIC, num_inference_steps=steps, cache=EncodingCache())),
        repeats=3,
    )
    again = EncodingCache()
    dfprompt.prepare(pipe, DYNAMIC, num_inference_steps=steps, cache=again)
    cached = best_seconds(lambda: dfprompt.prepare(pipe, DYNAMIC, num_inference_steps=steps, cache=again))
    swap = swap_seconds(pipe, steps)
    extra = ours + swap * steps - stock
    print(
        f"    by its parts: stock encoding {stock * 1e3:.1f} ms, prepare {ours * 1e3:.1f} ms "
        f"({cached * 1e3:.1f} ms cached), swap {swap * 1e6:.0f} us per step: "
        f"ratio {1 + extra / plain_run:.4f} at {steps} steps"
    )
    print(f"    swap per step / one denoiser evaluation: {swap / (plain_run / steps):.1e}")


def swap_seconds(pipe: Any, steps: int) -> float:
    """Return what the callback takes at a step where rows change, 8 rows guided."""
    inputs = dfprompt.prepare(pipe, DYNAMIC, num_inference_steps=steps, cache=EncodingCache())
    callback, compiled = inputs["callback_on_step_end"], inputs.compiled
    at = next(step for step in range(1, steps) if compiled.changes(step))
    first = compiled.at(0)
    running = torch.cat([first["negative_prompt_embeds"], first["prompt_embeds"]])
    pipe._num_timesteps = steps
    return best_seconds(lambda: callback(pipe, at - 1, None, {"prompt_embeds": running}), repeats=20)


def print_against_compel(pipe: Any) -> None:
    """Compile one prompt with k down-weighted spans under compel's rule, both ways."""
    if find_spec("compel") is None:
        print("  compel is not installed: pip install -e '.[compel]' for the ratio")
        return
    print("  compiling a prompt with k down-weighted spans and the empty negative prompt, compel's own rule,")
    print("  encoder forwards in brackets; the last column changes all weights afterwards")
    print("    k   compel 2.5    dfprompt     compel / dfprompt   other weights")
    words = ["red horse", "deep snow", "old film", "gold light", "soft grain", "blue sky"]
    for count in (0, 1, 2, 4, 6):
        theirs_text = ", ".join(f"({word})0.8" if at < count else word for at, word in enumerate(words))
        ours_text = ", ".join(f"[{word}::0.8]" if at < count else word for at, word in enumerate(words))
        theirs, their_forwards = timed(pipe, partial(compel_one, pipe, theirs_text))
        ours, our_forwards = timed(pipe, partial(compile_one, pipe, ours_text, None))
        cache = EncodingCache()
        compile_one(pipe, ours_text, cache)
        changed, changed_forwards = timed(
            pipe, partial(compile_one, pipe, ours_text.replace("0.8", "0.6"), cache)
        )
        print(
            f"    {count}  {theirs * 1e3:6.0f} ms ({their_forwards})  {ours * 1e3:6.0f} ms ({our_forwards})"
            f"   {theirs / ours:12.1f}x         {changed * 1e3:6.0f} ms ({changed_forwards})"
        )


def compel_one(pipe: Any, text: str) -> None:
    """Encode a prompt and the empty negative prompt with a fresh Compel."""
    from compel import Compel

    with torch.no_grad():
        Compel(tokenizer=pipe.tokenizer, text_encoder=pipe.text_encoder)([text, ""])


def compile_one(pipe: Any, text: str, cache: EncodingCache | None) -> None:
    """Compile a prompt and the empty negative prompt for one step; without a cache, from nothing."""
    kept = EncodingCache() if cache is None else cache
    options = Options(weighting="compel")
    compile_prompts(adapter_for(pipe), [parse_prompt(text)], None, Schedule(1, (0,)), options, cache=kept)


def timed(pipe: Any, work: Callable[[], object]) -> tuple[float, int]:
    """Return the best time of some work, and how often the encoder ran in one go."""
    forwards = []
    handle = pipe.text_encoder.register_forward_pre_hook(lambda *_: forwards.append(1))
    work()
    count = len(forwards)
    handle.remove()
    return best_seconds(work, repeats=5), count


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--steps", type=int, default=2, help="denoising steps of a run at SD 1.5's shape")
    parser.add_argument("--pairs", type=int, default=3, help="alternated pairs of runs at SD 1.5's shape")
    parser.add_argument("--size", type=int, default=256, help="pixels of its pictures; 64 for a trial run")
    parser.add_argument("--mini", type=Path, help="folder of the mini pipeline, by default the embedded one")
    chosen = parser.parse_args()
    if chosen.steps < 2 or chosen.pairs < 1:
        parser.error("--steps must be at least 2, so that there is a step to swap at, and --pairs at least 1")
    logging.set_verbosity_error()
    # With two steps a narrow range may hold none; that is the benchmark's doing, not the prompt's.
    warnings.simplefilter("ignore", dfprompt.DFPromptWarning)
    print(header("Conditioning"))
    index = next(iter(MINI.glob("**/model_index.json")), None)
    folder = chosen.mini or (index.parent if index else None)
    if folder is None:
        print("  the mini pipeline is not there; name its folder with --mini")
    else:
        mini = DiffusionPipeline.from_pretrained(folder)
        mini.set_progress_bar_config(disable=True)
        print_ratio("mini", mini, 10, None, pairs=12)
    pipe = make_pipeline()
    print_against_compel(pipe)
    name = f"Stable Diffusion 1.5's shape at {chosen.size} px"
    print_ratio(name, pipe, chosen.steps, chosen.size, chosen.pairs)


if __name__ == "__main__":
    main()
