"""A stub of the part of ComfyUI that packs see, written from its public documentation: schema, CLIP, sampler.

`comfy_api.latest` with `io` and `ComfyExtension`; a CLIP that reads emphasis as the core does and encodes
words and weights as themselves; a sampler that shows a conditioning at the steps whose noise level lies
between its percents, both ends included.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Sequence
from typing import Any

Pieces = list[tuple[str, float]]


class NodeOutput:
    def __init__(self, *args: Any) -> None:
        self.args = args


class ComfyNode:
    pass


class ComfyExtension:
    async def get_node_list(self) -> list[type]:
        raise NotImplementedError


class Port:
    def __init__(self, kind: str, name: str | None = None, **options: Any) -> None:
        self.kind, self.id, self.options = kind, name, options


def _kind(name: str) -> types.SimpleNamespace:
    return types.SimpleNamespace(
        Input=lambda id, **options: Port(name, id, **options),
        Output=lambda id=None, **options: Port(name, id, **options),
    )


def install() -> list[str]:
    """Put the stub where packs import it from; returns the names it takes in sys.modules."""
    kinds = ("Clip", "Model", "String", "Int", "Combo", "Sigmas", "Conditioning", "Image")
    io = types.SimpleNamespace(
        ComfyNode=ComfyNode,
        NodeOutput=NodeOutput,
        Schema=types.SimpleNamespace,
        **{name: _kind(name) for name in kinds},
    )
    package, latest = types.ModuleType("comfy_api"), types.ModuleType("comfy_api.latest")
    latest.io, latest.ComfyExtension = io, ComfyExtension  # type: ignore[attr-defined]
    sys.modules |= {"comfy_api": package, "comfy_api.latest": latest}
    return ["comfy_api", "comfy_api.latest"]


class Clip:
    """Tokens are words with weights, and so is what they encode to."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def tokenize(self, text: str) -> Pieces:
        self.encoded.append(text)
        plain = text.replace("\\)", "\0").replace("\\(", "\1")
        return [
            (words.replace("\0", ")").replace("\1", "("), weight) for words, weight in emphasis(plain, 1.0)
        ]

    def encode_from_tokens_scheduled(self, tokens: Pieces) -> list[list[Any]]:
        return [[tokens, {"pooled_output": None}]]


def emphasis(text: str, around: float) -> Pieces:
    """The core's emphasis: `(w)` times 1.1, `(w:1.2)` sets 1.2."""
    pieces: Pieces = []
    level, start = 0, 0
    for at, letter in enumerate(text):
        if letter == "(":
            if level == 0:
                pieces.append((text[start:at], around))
                start = at
            level += 1
        elif letter == ")" and level:
            level -= 1
            if level == 0:
                inner, colon, number = text[start + 1 : at].rpartition(":")
                if colon and inner and _is_number(number):
                    pieces += emphasis(inner, float(number))
                else:
                    pieces += emphasis(text[start + 1 : at], around * 1.1)
                start = at + 1
    return [piece for piece in [*pieces, (text[start:], around)] if piece[0]]


def _is_number(written: str) -> bool:
    try:
        float(written)
    except ValueError:
        return False
    return True


class Model:
    """A model of one family: its noise levels over the 1,000 times it was trained on, or a shifted flow."""

    def __init__(self, shift: float | None = None) -> None:
        self.shift = shift
        kept, levels = 1.0, []
        for at in range(1000):
            root = math.sqrt(0.00085) + (math.sqrt(0.012) - math.sqrt(0.00085)) * at / 999
            kept *= 1 - root * root
            levels.append(math.sqrt((1 - kept) / kept))
        self.levels = levels

    def get_model_object(self, name: str) -> Model:
        assert name == "model_sampling"
        return self

    def percent_to_sigma(self, percent: float) -> float:
        if percent <= 0:
            return 999999999.9
        if percent >= 1:
            return 0.0
        if self.shift is not None:
            return self.shift * (1 - percent) / (1 + (self.shift - 1) * (1 - percent))
        place = (1 - percent) * 999
        low, part = int(place), place % 1
        ends = math.log(self.levels[low]), math.log(self.levels[min(low + 1, 999)])
        return math.exp(ends[0] + (ends[1] - ends[0]) * part)

    def sigmas(self, steps: int, scheduler: str) -> list[float]:
        """The noise levels of a run, a last 0 included."""
        if self.shift is not None or scheduler == "even":
            return [self.percent_to_sigma(max(step / steps, 1e-6)) for step in range(steps)] + [0.0]
        high, low = self.levels[-1] ** (1 / 7), self.levels[0] ** (1 / 7)
        return [(high + (low - high) * step / max(1, steps - 1)) ** 7 for step in range(steps)] + [0.0]


def shown_at(conditioning: Sequence[Any], sigma: float, model: Model) -> list[Any]:
    """The entries a sampler uses at one noise level."""
    return [
        tokens
        for tokens, options in conditioning
        if model.percent_to_sigma(options["start_percent"])
        >= sigma
        >= model.percent_to_sigma(options["end_percent"])
    ]
