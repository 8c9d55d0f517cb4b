"""The aesthetic head: a multilayer perceptron on the L2-normalised CLIP image vector.

Two layouts are read:
the published file (`sac+logos+ava1-l14-linearMSE.pth`): a state dict with the keys `layers.0.weight`,
`layers.0.bias`, `layers.2...`, `layers.4...`, `layers.6...`, `layers.7...` (widths 768-1024-128-64-16-1,
the numbers between are dropouts, no activations), read with `torch.load(weights_only=True)`;
our folder: `aesthetic.safetensors` with the same kind of keys, and `config.json` holding
{"activation": "none" | "relu" | "gelu", "tower": "../clip"}, `tower` being the CLIP model whose image
vector the head reads: a folder relative to this one, or a hub id.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from dfprompt.errors import LoadError
from dfprompt.rewards.tensorfiles import read_tensors
from dfprompt.storage import read_json, save_tensors, write_text

WEIGHTS_NAME = "aesthetic.safetensors"
PUBLISHED_WIDTHS = (768, 1024, 128, 64, 16, 1)
_PUBLISHED_PLACES = (0, 2, 4, 6, 7)  # of the linear layers among the dropouts
_ACTIVATIONS = {"none": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU}


class AestheticHead(nn.Module):
    """Linear layers of the given widths, the last of width 1, with an activation between them.

    >>> from torch import zeros
    >>> AestheticHead((8, 4, 1))(zeros(2, 8)).shape
    torch.Size([2])
    """

    def __init__(self, widths: tuple[int, ...] = PUBLISHED_WIDTHS, activation: str = "none") -> None:
        super().__init__()
        if activation not in _ACTIVATIONS:
            raise LoadError(f"activation {activation!r} is none of {', '.join(_ACTIVATIONS)}")
        if len(widths) < 2 or widths[-1] != 1:
            raise LoadError(f"an aesthetic head ends in one number, but its widths are {widths}")
        self.widths = widths
        self.activation = activation
        self.linears = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(widths))
        self.act = _ACTIVATIONS[activation]()

    @property
    def width(self) -> int:
        """The width of the vectors it reads."""
        return self.widths[0]

    def forward(self, features: Tensor) -> Tensor:
        """Scores (B,) of L2-normalised image features (B, D)."""
        for linear in self.linears[:-1]:
            features = self.act(linear(features))
        return self.linears[-1](features).squeeze(1)


def load_aesthetic_head(source: str | Path) -> tuple[AestheticHead, str | None]:
    """Read a `.pth` file of the published layout or a folder of ours: the head, and its tower if named.

    A relative `tower` folder is resolved against the head's. Raises LoadError naming the file.
    """
    source = Path(source)
    if source.is_dir():
        config = _read_config(source)
        head = head_from_state(read_tensors(source / WEIGHTS_NAME), config.get("activation") or "none")
        tower = config.get("tower")
        if tower and (source / tower).is_dir():
            tower = str((source / tower).resolve())
        return head, tower
    return head_from_state(read_tensors(source)), None


def save_aesthetic_head(head: AestheticHead, folder: str | Path, tower: str | None = None) -> None:
    """Write our folder layout; `tower`: the CLIP model the head reads, relative to the folder, or its id."""
    folder = Path(folder)
    save_tensors(head_to_state(head), folder / WEIGHTS_NAME)
    config = {"activation": head.activation, "widths": list(head.widths), "tower": tower}
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")


def head_to_state(head: AestheticHead) -> dict[str, Tensor]:
    """The head's tensors under `layers.N.weight` and `layers.N.bias`; five layers get the published N."""
    published = len(head.linears) == len(_PUBLISHED_PLACES)
    places = _PUBLISHED_PLACES if published else range(len(head.linears))
    state: dict[str, Tensor] = {}
    for place, linear in zip(places, head.linears, strict=True):
        state[f"layers.{place}.weight"] = linear.weight.detach().contiguous()
        state[f"layers.{place}.bias"] = linear.bias.detach().contiguous()
    return state


def head_from_state(state: Mapping[str, Tensor], activation: str = "none") -> AestheticHead:
    """Build the head from `layers.N.weight` and `layers.N.bias`, its widths read off the shapes."""
    weights: dict[int, Tensor] = {}
    biases: dict[int, Tensor] = {}
    for key, tensor in state.items():
        found = re.fullmatch(r"layers\.(\d+)\.(weight|bias)", key)
        if found is None:
            raise LoadError(f"an aesthetic head has keys layers.N.weight and layers.N.bias, not {key!r}")
        (weights if found[2] == "weight" else biases)[int(found[1])] = tensor
    places = sorted(weights)
    if not places or places != sorted(biases) or any(weight.ndim != 2 for weight in weights.values()):
        raise LoadError(f"an aesthetic head needs a matrix and a bias per layer, got {sorted(state)}")
    widths = (weights[places[0]].shape[1], *(weights[place].shape[0] for place in places))
    head = AestheticHead(widths, activation)
    layers = {
        f"linears.{index}.{kind}": tensors[place]
        for index, place in enumerate(places)
        for kind, tensors in (("weight", weights), ("bias", biases))
    }
    try:
        head.load_state_dict(layers)
    except RuntimeError as error:
        raise LoadError(f"the layers of the aesthetic head do not fit together: {error}") from error
    return head


def _read_config(folder: Path) -> dict[str, Any]:
    source = folder / "config.json"
    try:
        config = read_json(source)
    except (OSError, ValueError, RecursionError) as error:
        raise LoadError(f"cannot read {source}: {error}") from error
    texts = ("activation", "tower")
    if not isinstance(config, dict) or not all(isinstance(config.get(name), str | None) for name in texts):
        raise LoadError(f'{source}: expected {{"activation": ..., "tower": ...}}')
    return config
