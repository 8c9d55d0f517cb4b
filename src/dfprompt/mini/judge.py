"""The judges: what is really in a picture. Trained on renders' facts only, never on captions, generated
pictures or ratings, and never part of a reward.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from dfprompt.mini.pieces import open_piece
from dfprompt.mini.renderer import Scene
from dfprompt.mini.world import COLOURS, SCENES, SUBJECTS
from dfprompt.storage import read_json, save_tensors, write_text

CLASSES = {"subject": SUBJECTS, "colour": tuple(COLOURS), "scene": tuple(SCENES)}


class HalvingBlock(nn.Module):
    """Halve the picture, then one residual convolution."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inward, outward, 3, stride=2, padding=1)
        self.norm = nn.GroupNorm(4, outward)
        self.conv = nn.Conv2d(outward, outward, 3, padding=1)
        self.after = nn.GroupNorm(4, outward)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.silu(self.norm(self.down(x)))
        return x + functional.silu(self.after(self.conv(x)))


class Judge(nn.Module):
    """Reads subject, colour and scene off pictures (B, 3, 64, 64) in -1..1; logits (B, classes) each."""

    def __init__(self, channels: Sequence[int] = (24, 48, 96, 128)) -> None:
        super().__init__()
        widths = [3, *channels]
        self.body = nn.Sequential(*(HalvingBlock(a, b) for a, b in itertools.pairwise(widths)))
        self.heads = nn.ModuleDict({name: nn.Linear(2 * channels[-1], len(c)) for name, c in CLASSES.items()})

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        x = self.body(pictures)
        pooled = torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)
        return {name: head(pooled) for name, head in self.heads.items()}

    def save(self, folder: Path) -> None:
        """Write judge.safetensors, in half precision, and the class names beside it."""
        state = {name: value.half().contiguous() for name, value in self.state_dict().items()}
        save_tensors(state, folder / "judge.safetensors")
        write_text(folder / "classes.json", json.dumps(CLASSES, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Judge:
        """Read what `save` wrote; raises LoadError when it is missing, damaged or of another world."""
        return open_piece(cls._open, folder, "judge").eval()

    @classmethod
    def _open(cls, folder: Path) -> Judge:
        classes = read_json(folder / "classes.json")
        if {k: tuple(v) for k, v in classes.items()} != CLASSES:
            raise ValueError("it knows other classes")
        judge = cls()
        judge.load_state_dict({k: v.float() for k, v in load_file(folder / "judge.safetensors").items()})
        return judge

    @torch.no_grad()
    def correct(self, images: Tensor, asked: Sequence[Scene], batch: int = 256) -> dict[str, Tensor]:
        """Whether each picture (B, 3, 64, 64) in [0, 1] shows what was asked: bool (B,) per kind of fact."""
        logits = [self(images[i : i + batch] * 2 - 1) for i in range(0, len(images), batch)]
        read = {name: torch.cat([row[name] for row in logits]).argmax(1) for name in CLASSES}
        want = labels(asked, asked=True)
        return {name: read[name] == want[name] for name in CLASSES}


def labels(scenes: Sequence[Scene], *, asked: bool = False) -> dict[str, Tensor]:
    """Class ids (M,) per kind of fact: what is drawn, or (asked=True) what the caption said."""
    rows = [
        (s.asked_subject if asked else s.subject, s.asked_colour if asked else s.colour, s.scene)
        for s in scenes
    ]
    columns = zip(*rows, strict=True)
    return {
        name: torch.tensor([classes.index(value) for value in column])
        for (name, classes), column in zip(CLASSES.items(), columns, strict=True)
    }
