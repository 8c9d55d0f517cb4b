"""The artefact watch: tells pictures that a pipeline drew from renders, which are what is real in this world.

Trained once on renders and plain drawings (experiments/mini-artefacts), never part of a reward. Half of its
renders went through the autoencoder, so that it reads more than the decoder's hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from dfprompt.mini.judge import HalvingBlock
from dfprompt.mini.pieces import open_piece
from dfprompt.storage import save_tensors

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
        """Read what `save` wrote; raises LoadError when it is missing or damaged."""
        return open_piece(cls._open, folder, "experiments/mini-artefacts").eval()

    @classmethod
    def _open(cls, folder: Path) -> ArtefactWatch:
        watch = cls()
        watch.load_state_dict({k: v.float() for k, v in load_file(folder / FILE_NAME).items()})
        return watch
