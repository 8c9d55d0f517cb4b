"""Try an artefact watch of the mini world: drawings of plain captions against renders. It learnt nothing.

    python experiments/mini-artefacts/train.py --output trained

The world is frozen and stays as it is: nothing of it is trained here. Drawings are the pipeline's own at its
own settings; renders are of other scenes, half of them decoded from the autoencoder's code of them, so that
the watch reads more than the decoder's hand. Written: the weights and result.json, on held-out pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from dfprompt.api.pipelines import load_pipeline
from dfprompt.mini.captions import canonical
from dfprompt.mini.judge import HalvingBlock
from dfprompt.mini.renderer import render, sample_scene
from dfprompt.prompt import DFPrompt
from dfprompt.storage import save_tensors

SEED, DRAWN, HELD_OUT, STEPS, BATCH = 771_001, 256, 96, 400, 32

FILE_NAME = "artefacts.safetensors"


class ArtefactWatch(nn.Module):
    """The log odds (B,) that pictures (B, 3, 64, 64) in -1..1 were drawn and not rendered."""

    def __init__(self, channels: Sequence[int] = (12, 24, 48)) -> None:
        super().__init__()
        widths = [3, *channels]
        self.body = nn.Sequential(*(HalvingBlock(a, b) for a, b in itertools.pairwise(widths)))
        self.head = nn.Linear(2 * channels[-1], 1)

    def forward(self, pictures: Tensor) -> Tensor:
        x = self.body(pictures)
        odds: Tensor = self.head(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1))
        return odds.squeeze(1)

    def save(self, folder: Path) -> None:
        """Write the weights in half precision."""
        state = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        save_tensors(state, folder / FILE_NAME)

    @classmethod
    def load(cls, folder: Path) -> ArtefactWatch:
        """Read what `save` wrote."""
        return cls._open(folder).eval()

    @classmethod
    def _open(cls, folder: Path) -> ArtefactWatch:
        watch = cls()
        watch.load_state_dict({k: v.float() for k, v in load_file(folder / FILE_NAME).items()})
        return watch


def make_pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return drawings and renders (count, 3, 64, 64) in -1..1 of as many scenes each."""
    rng = np.random.default_rng(seed)
    scenes = [sample_scene(rng) for _ in range(2 * count)]
    prompts = [DFPrompt.from_plain(canonical(s.subject, s.colour, s.scene)) for s in scenes[:count]]
    pipeline = load_pipeline("mini")
    parts = [slice(start, min(start + 32, count)) for start in range(0, count, 32)]
    drawn = [pipeline.generate(prompts[part], seeds=list(range(seed, seed + count))[part]) for part in parts]
    renders = torch.from_numpy(np.stack([render(scene) for scene in scenes[count:]])).permute(0, 3, 1, 2)
    rendered = renders.float() * 2 - 1
    with torch.no_grad():
        vae = pipeline.pipe.vae
        for start in range(0, count // 2, 32):
            part = slice(start, min(start + 32, count // 2))
            rendered[part] = vae.decode(vae.encode(rendered[part]).latent_dist.mode()).sample.clamp(-1, 1)
    return _to_levels(torch.cat(drawn) * 2 - 1), _to_levels(rendered)


def _to_levels(pictures: Tensor) -> Tensor:
    """Round to 8 bits, as files are, so that no picture is known by finer values."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def train(drawings: Tensor, renders: Tensor) -> ArtefactWatch:
    """Return a watch trained on pairs of batches; mirrored, and with shifts of brightness."""
    torch.manual_seed(SEED)
    watch = ArtefactWatch()
    optimizer = torch.optim.AdamW(watch.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(SEED)
    truth = torch.cat([torch.ones(BATCH), torch.zeros(BATCH)])
    for _ in range(STEPS):
        rows = torch.randint(len(drawings), (2, BATCH), generator=generator)
        pictures = torch.cat([drawings[rows[0]], renders[rows[1]]])
        flips = torch.rand(2 * BATCH, generator=generator) < 0.5
        pictures = torch.where(flips[:, None, None, None], pictures.flip(3), pictures)
        pictures = pictures + (torch.rand((2 * BATCH, 3, 1, 1), generator=generator) - 0.5) * 0.1
        loss = functional.binary_cross_entropy_with_logits(watch(pictures), truth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return watch.eval()


@torch.no_grad()
def measure(watch: ArtefactWatch, drawings: Tensor, renders: Tensor) -> dict[str, float]:
    """Return how well held-out pictures are told apart: the area under the curve, accuracy, mean odds."""
    high, low = watch(drawings), watch(renders)
    above = (high[:, None] > low[None]).float() + 0.5 * (high[:, None] == low[None]).float()
    right = torch.cat([high > 0, low <= 0]).float()
    return {
        "area": above.mean().item(),
        "accuracy": right.mean().item(),
        "drawings": high.mean().item(),
        "renders": low.mean().item(),
    }


def main() -> None:
    """Make the pictures, train, measure, write."""
    parser = argparse.ArgumentParser(description="Train the mini world's artefact watch.")
    parser.add_argument("--output", type=Path, required=True)
    options = parser.parse_args()
    drawings, renders = make_pictures(DRAWN + HELD_OUT, SEED)
    order = torch.randperm(DRAWN + HELD_OUT, generator=torch.Generator().manual_seed(SEED))
    drawings, renders = drawings[order], renders[order]
    watch = train(drawings[HELD_OUT:], renders[HELD_OUT:])
    options.output.mkdir(parents=True, exist_ok=True)
    watch.save(options.output)
    kept = ArtefactWatch.load(options.output)
    digest = hashlib.sha256((options.output / FILE_NAME).read_bytes()).hexdigest()[:16]
    result = {
        "seed": SEED,
        "drawings": DRAWN,
        "renders": DRAWN,
        "held_out": HELD_OUT,
        "steps": STEPS,
        "sha256": digest,
        "held_out_pictures": measure(kept, drawings[:HELD_OUT], renders[:HELD_OUT]),
    }
    (options.output / "result.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
