"""`run` beside the stock call, and weights by attention beside none, in processor seconds of one process.

Pairs are interleaved and the ratio is that of the medians, because the machine may be shared. Random weights;
nothing is cached between runs but what a second run of the same prompts would find cached.

    python benchmarks/bench_run.py [--pairs 40] [--shape]      --shape adds Stable Diffusion 1.5's whole shape
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiffusionPipeline, Transformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformerBlock
from diffusers.utils import logging
from torch import nn

import dfprompt
from bench_conditioning import DYNAMIC, MINI, PLAIN, make_pipeline
from dfprompt.conditioning.ownership import RunHooks
from dfprompt.conditioning.value_sites import FLUX_VALUES, UNET_VALUES
from dfprompt.conditioning.value_weights import ValueWeights
from machine import header

TOKENS = 77


def processor_seconds(work: Callable[[], object]) -> float:
    """Return the processor time of one run, whatever else the machine does."""
    start = time.process_time()
    work()
    return time.process_time() - start


def compare(
    name: str, goal: float, stock: Callable[[], object], ours: Callable[[], object], pairs: int
) -> None:
    """Alternate the two; print the ratio of their medians and the spread of the pairs."""
    stock(), ours()  # the first runs also allocate and fill caches
    taken: list[tuple[float, float]] = []
    for pair in range(pairs):
        order = (stock, ours) if pair % 2 == 0 else (ours, stock)
        seconds = {work: processor_seconds(work) for work in order}
        taken.append((seconds[stock], seconds[ours]))
    plain, steered = (statistics.median(column) for column in zip(*taken, strict=True))
    ratios = sorted(b / a for a, b in taken)
    print(
        f"  {name}: {steered / plain:.4f} (goal <= {goal}; pairs {ratios[0]:.3f} to {ratios[-1]:.3f}; "
        f"stock {plain:.3f} s)"
    )


def compare_calls(name: str, pipe: Any, steps: int, size: int | None, pairs: int) -> None:
    """Eight different DF-Prompts by `run` beside eight plain prompts by the stock call."""
    call = {"num_inference_steps": steps, "height": size, "width": size, "output_type": "latent"}
    compare(name, 1.02, lambda: pipe(PLAIN, **call), lambda: dfprompt.run(pipe, DYNAMIC, **call), pairs)


class CrossBlock(nn.Module):
    """The widest cross attention of Stable Diffusion 1.5: 320 channels at 64 x 64, both sides of guidance."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = Transformer2DModel(8, 40, 320, cross_attention_dim=768)
        self.picture, self.text = torch.randn(2, 320, 64, 64), torch.randn(2, TOKENS, 768)

    def forward(self) -> Any:
        return self.attention(self.picture, self.text)


class JointBlock(nn.Module):
    """One double block of FLUX.1's shape, with fewer picture tokens than a real picture has."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer_blocks = nn.ModuleList([FluxTransformerBlock(3072, 24, 128)])
        self.picture, self.text, self.time = (
            torch.randn(1, 512, 3072), torch.randn(1, TOKENS, 3072), torch.randn(1, 3072),
        )  # fmt: skip

    def forward(self) -> Any:
        return self.transformer_blocks[0](self.picture, self.text, self.time)


def compare_weights(name: str, block: nn.Module, sites: Any, rows: int, pairs: int) -> None:
    """The same block with every token weighted, and without hooks."""
    weights = torch.full((rows, TOKENS), 1.25)

    def weighted() -> None:
        with RunHooks([block], lambda: True) as hooks:
            values = ValueWeights(block, sites)
            values.put(hooks)
            values.hear(weights)
            block()

    compare(name, 1.01, block, weighted, pairs)


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument(
        "--shape", action="store_true", help="also Stable Diffusion 1.5's shape, 8 rows, 64 px"
    )
    chosen = parser.parse_args()
    logging.set_verbosity_error()
    warnings.simplefilter("ignore", dfprompt.DFPromptWarning)
    torch.manual_seed(0)
    print(header("run and weights by attention"))
    with torch.no_grad():
        index = next(iter(MINI.glob("**/model_index.json")))
        mini = DiffusionPipeline.from_pretrained(index.parent)
        mini.set_progress_bar_config(disable=True)
        compare_calls("mini, 8 DF-Prompts / 8 plain, 10 steps", mini, 10, None, chosen.pairs)
        compare_weights("attention rule, SD 1.5's widest block", CrossBlock(), UNET_VALUES, 2, chosen.pairs)
        compare_weights("attention rule, a FLUX double block", JointBlock(), FLUX_VALUES[:1], 1, chosen.pairs)
        if chosen.shape:
            pipe = make_pipeline()
            compare_calls("Stable Diffusion 1.5's shape, 8 / 8, 2 steps at 64 px", pipe, 2, 64, 3)


if __name__ == "__main__":
    main()
