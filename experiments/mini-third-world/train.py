"""Train the mini denoiser or decoder on, in one process per core: the procedure of README.md, tidied up.

    python experiments/mini-third-world/train.py prepare --output trained --renders 80000
    torchrun --nproc-per-node 2 experiments/mini-third-world/train.py unet --output trained --minutes 90
    torchrun --nproc-per-node 2 experiments/mini-third-world/train.py decoder --output trained --minutes 25

Begins at the pipeline in the package, which is what came of it; the run of README.md began at the second
frozen world's, which stood there then. Differs from `dfprompt mini build` in three things:
gradients are averaged over processes, the module is compiled, and the length is a time. It is not resumable.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPTokenizer

from worlds.mini import autoencoder, denoiser, text
from worlds.mini.dataset import make_dataset, read_dataset
from worlds.mini.optimizers import Steps
from worlds.mini.precision import bfloat16_products, has_fast_bfloat16

WEIGHTS = Path(__file__).parents[2] / "src/dfprompt/mini/weights/pipeline"
HELD_OUT = 1000  # renders at the end of the set that nothing trains on
LEVELS = (5.1, 2.6, 1.36, 0.69, 0.36, 0.18)  # of noise that the sampler visits where shapes are settled
RANK, WORLD = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
Loss = Callable[[nn.Module, int], Tensor]


def prepare(output: Path, renders: int) -> None:
    """Render, encode and read everything once."""
    make_dataset(output / "renders", renders, seed=1, processes=os.cpu_count() or 1)
    data = read_dataset(output / "renders")
    vae = load_autoencoder()
    encoder = CLIPTextModel.from_pretrained(WEIGHTS / "text_encoder").float().eval()
    tokenizer = CLIPTokenizer.from_pretrained(WEIGHTS / "tokenizer")
    with torch.no_grad():
        tensors = {
            "latents": autoencoder.encode(vae, data.pictures) * vae.config.scaling_factor,
            "states": text.encode(encoder, tokenizer, data.captions),
            "empty": text.encode(encoder, tokenizer, [""]).float(),
        }
    save_file({name: value.contiguous() for name, value in tensors.items()}, output / "data.safetensors")


def load_autoencoder() -> AutoencoderKL:
    """The autoencoder that ships."""
    vae = AutoencoderKL.from_pretrained(WEIGHTS / "vae").float().eval()
    return vae.to(memory_format=torch.channels_last)


def train_unet(output: Path, minutes: float, rate: float) -> None:
    """The denoiser, on the noise levels of `worlds.mini.denoiser.focus`."""
    data = load_file(output / "data.safetensors")
    latents, states, empty = data["latents"], data["states"], data["empty"]
    unet = UNet2DConditionModel.from_pretrained(WEIGHTS / "unet").float()
    unet = unet.to(memory_format=torch.channels_last).train()
    signal = denoiser.alphas_cumprod()

    def error(module: nn.Module, rows: Tensor, timestep: Tensor, noise: Tensor, context: Tensor) -> Tensor:
        a = signal[timestep].view(-1, 1, 1, 1)
        noisy = a.sqrt() * latents[rows] + (1 - a).sqrt() * noise
        target = a.sqrt() * noise - (1 - a).sqrt() * latents[rows]
        noisy = noisy.contiguous(memory_format=torch.channels_last)
        return functional.mse_loss(module(noisy, timestep, context).sample.float(), target)

    def loss(module: nn.Module, step: int) -> Tensor:
        batch, draw = 96, torch.Generator().manual_seed(1_000_003 * (RANK + 1) + step)
        rows = torch.randint(0, len(latents) - HELD_OUT, (batch,), generator=draw)
        dropped = torch.rand(batch, generator=draw) < 0.1
        context = torch.where(dropped[:, None, None], empty, states[rows].float())
        u = (torch.rand(1, generator=draw) + torch.arange(batch) / batch) % 1.0
        noise = torch.randn((batch, *latents.shape[1:]), generator=draw)
        return error(module, rows, (denoiser.focus(u) * len(signal)).long(), noise, context)

    def check(module: nn.Module) -> list[float]:
        draw, found = torch.Generator().manual_seed(7), []
        ratio = (1 - signal) / signal
        for at, level in enumerate(LEVELS):
            rows = len(latents) - HELD_OUT + torch.arange(80 * at, 80 * (at + 1))
            timestep = torch.full((80,), int((ratio - level**2).abs().argmin()))
            noise = torch.randn((80, *latents.shape[1:]), generator=draw)
            found.append(float(error(module, rows, timestep, noise, states[rows].float())))
        return found

    half = has_fast_bfloat16(torch.device("cpu"))
    train(unet, loss, check, output / "unet.jsonl", minutes, rate, bfloat16_products(unet, enabled=half))
    finish(unet, output / "unet")


def train_decoder(output: Path, minutes: float, rate: float) -> None:
    """The decoder alone: the latents stay, so a denoiser keeps its meaning."""
    vae = load_autoencoder()
    latents = load_file(output / "data.safetensors")["latents"] / vae.config.scaling_factor
    files = sorted((output / "renders").glob("*.npy"))
    shards = [np.load(file, mmap_mode="r", allow_pickle=False) for file in files]

    def error(module: nn.Module, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        size = len(shards[0])
        target = autoencoder.to_tensor(np.stack([shards[row // size][row % size] for row in rows.tolist()]))
        drawn = module(latents[rows]).float()
        return autoencoder.reconstruction_loss(drawn, target), drawn, target

    def loss(module: nn.Module, step: int) -> Tensor:
        draw = torch.Generator().manual_seed(7_000_003 * (RANK + 1) + step)
        return error(module, torch.randint(0, len(latents) - HELD_OUT, (16,), generator=draw))[0]

    def check(module: nn.Module) -> list[float]:
        held = len(latents) - HELD_OUT + torch.arange(256)
        _, drawn, target = error(module, held)
        return [autoencoder.psnr(drawn, target)]

    train(autoencoder.DecoderPart(vae), loss, check, output / "decoder.jsonl", minutes, rate, nullcontext())
    finish(vae, output / "vae")


def train(
    module: nn.Module,
    loss: Loss,
    check: Callable[[nn.Module], list[float]],
    log: Path,
    minutes: float,
    rate: float,
    precision: AbstractContextManager[None],
) -> None:
    """Cosine to a hundredth over the minutes; the module ends with averaged weights."""
    if WORLD > 1:
        dist.init_process_group("gloo")
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    named = dict(module.named_parameters())
    named = {name: weight for name, weight in named.items() if weight.requires_grad}
    average = {name: weight.detach().clone() for name, weight in named.items()}
    steps = Steps(named, lr=rate, weight_decay=0.0, muon=True)
    compiled, started, step, done = torch.compile(module), time.monotonic(), 0, 0.0

    @torch.no_grad()
    def note() -> None:
        if RANK:
            return
        current = {name: weight.detach().clone() for name, weight in named.items()}
        put(named, average)
        minutes_gone = round((time.monotonic() - started) / 60, 2)
        with torch.autocast("cpu", enabled=False):
            row = {"step": step, "minutes": minutes_gone, "held_out": check(module)}
        put(named, current)
        with log.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    note()
    stack = ExitStack()
    stack.enter_context(precision)
    while done < 1:
        steps.set_rate(rate * min(1, (step + 1) / 100) * (0.01 + 0.495 * (1 + math.cos(math.pi * done))))
        value = loss(compiled, step)
        value.backward()
        average_over_processes(list(named.values()))
        nn.utils.clip_grad_norm_(list(named.values()), 1.0)
        steps.take()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.values()), list(named.values()), 0.002)
        step += 1
        done = agreed((time.monotonic() - started) / 60 / minutes)
        if step % 250 == 0:
            note()
    stack.close()
    note()
    put(named, average)


def average_over_processes(weights: list[nn.Parameter]) -> None:
    """The mean gradient of all processes in each of them."""
    if WORLD == 1:
        return
    flat = torch.cat([weight.grad.reshape(-1) for weight in weights if weight.grad is not None])
    dist.all_reduce(flat)
    for weight, part in zip(weights, (flat / WORLD).split([w.numel() for w in weights]), strict=True):
        if weight.grad is not None:
            weight.grad.copy_(part.view(weight.shape))


def agreed(done: float) -> float:
    """The first process's clock for all."""
    if WORLD == 1:
        return done
    clock = torch.tensor([done], dtype=torch.float64)
    dist.broadcast(clock, 0)
    return float(clock)


@torch.no_grad()
def put(named: dict[str, nn.Parameter], values: dict[str, Tensor]) -> None:
    """Copy values into weights."""
    for name, weight in named.items():
        weight.copy_(values[name])


def finish(model: nn.Module, folder: Path) -> None:
    """Save in half precision, as the package's are."""
    if RANK == 0:
        model.half().save_pretrained(folder)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("prepare", "unet", "decoder"))
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--renders", type=int, default=80_000)
    parser.add_argument("--minutes", type=float, default=90.0)
    parser.add_argument("--rate", type=float, default=0.0, help="default: 1.5e-3 (unet), 1e-3 (decoder)")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    if asked.what == "prepare":
        prepare(asked.output, asked.renders)
    elif asked.what == "unet":
        train_unet(asked.output, asked.minutes, asked.rate or 1.5e-3)
    else:
        train_decoder(asked.output, asked.minutes, asked.rate or 1e-3)


if __name__ == "__main__":
    main()
