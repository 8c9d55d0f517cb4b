"""The rule `attention`: the value rows of a span's tokens are multiplied by its weight.

In attention a token contributes its value times a probability, so multiplying the value is
multiplying the probability after the softmax: the re-weighting of prompt-to-prompt (Hertz et al.,
2022, section 3, "attention re-weighting"). Weights may be negative and change with every step;
nothing is encoded anew.

Shapes: B rows of the call, T text tokens, N tokens of a stream, D width.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dfprompt.conditioning.ownership import RunHooks
from dfprompt.conditioning.value_sites import ValueSite
from dfprompt.errors import GenerationError, UnsupportedPipelineError

# The fused projections of diffusers, and in how many parts of which the values are the last one.
_FUSED = {"to_v": (("to_qkv", 3), ("to_kv", 2)), "add_v_proj": (("to_added_qkv", 3),)}


class Projection(NamedTuple):
    """A module whose output holds value rows, which values these are, and which columns."""

    name: str
    module: nn.Module
    site: ValueSite
    columns: slice


def scale_values(values: Tensor, weights: Tensor, site: ValueSite) -> Tensor:
    """Multiply the text rows of `values` (B,N,D) by `weights` (B,T), in place, in float32.

    Rows of a longer batch (frames of a video) follow each other: each weight serves its row's.
    Raises GenerationError where the stream is shorter than the text.

    >>> import torch
    >>> scale_values(torch.ones(1, 3, 1), torch.tensor([[2.0]]), ValueSite("", "", "first")).tolist()
    [[[2.0], [1.0], [1.0]]]
    """
    tokens = weights.shape[1]
    start = 0
    if site.rows == "last":
        start = values.shape[1] - -(-tokens // site.padding) * site.padding
    whole = site.rows != "all" or values.shape[1] == tokens
    if start < 0 or tokens > values.shape[1] or len(values) % len(weights) or not whole:
        raise GenerationError(
            f"the attention reads {tuple(values.shape)[:2]} rows and tokens, and weights were made for "
            f"{tuple(weights.shape)}; pass the prepared arguments unchanged"
        )
    factors = weights.repeat_interleave(len(values) // len(weights), dim=0)
    values[:, start : start + tokens].mul_(factors[..., None])
    return values


def find_projections(module: nn.Module, sites: Sequence[ValueSite]) -> list[Projection]:
    """Return the value projections of every block of a denoiser, of fused ones both forms.

    Which of the two computes is the attention processor's affair, and some stay behind when they are unfused.

    Raises UnsupportedPipelineError where there is no such block, where a block lacks its projection,
    and where a block was compiled: its compiled form would skip the hooks.
    """
    found = [
        projection
        for name, block in _walk(module)
        for site in sites
        if re.fullmatch(site.block, name)
        for projection in _projections(f"{name}.{site.projection}", block, site)
    ]
    if not found:
        raise UnsupportedPipelineError(
            f"{type(module).__name__} has no blocks named {' or '.join(site.block for site in sites)}, so "
            "weights cannot reach its attention; use another rule for the weights, or none"
        )
    return found


def _walk(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    for name, part in module.named_modules():
        if getattr(part, "_compiled_call_impl", None) is not None or hasattr(part, "_orig_mod"):
            where = f"its {name.removesuffix('._orig_mod')}" if name else "it"
            raise UnsupportedPipelineError(
                f"{where} is compiled: weights by attention put hooks on {type(module).__name__}, and code "
                "compiled without them would skip them; load it uncompiled, or use another rule"
            )
        yield name, part


def _projections(name: str, block: nn.Module, site: ValueSite) -> list[Projection]:
    path, _, last = site.projection.rpartition(".")
    try:
        attention = block.get_submodule(path)
    except AttributeError:
        attention = nn.Module()
    found = [
        Projection(name, projection, site, _last_part(projection, parts))
        for fused, parts in _FUSED.get(last, ())
        if isinstance(projection := getattr(attention, fused, None), nn.Module)
    ]
    projection = getattr(attention, last, None)
    if not isinstance(projection, nn.Module) and found:
        return found
    if not isinstance(projection, nn.Module):
        raise UnsupportedPipelineError(
            f"{type(block).__name__} has no {site.projection} (looked for {name}), so weights cannot reach "
            "its attention; use another rule for the weights, or none"
        )
    width = int(attention.inner_dim) if site.third else 0
    columns = slice(2 * width, 3 * width) if site.third else slice(None)
    return [*found, Projection(name, projection, site, columns)]


def _last_part(projection: nn.Module, parts: int) -> slice:
    width = int(projection.out_features)
    return slice(width - width // parts, width)


class ValueWeights:
    """The value projections of one denoiser and the weights they act with.

    `title` names the model in errors. Hooks are put on by `put`; they act on what `hear` said last.
    """

    def __init__(self, module: nn.Module, sites: Sequence[ValueSite]) -> None:
        self.projections = find_projections(module, sites)
        self.title = type(module).__name__
        self._weights: dict[torch.device, Tensor] = {}
        self._reached: set[str] = set()
        self._checked = False

    def put(self, hooks: RunHooks) -> None:
        """Put a hook on every projection, to act for the run that owns `hooks` and end with it."""
        for projection in self.projections:
            hooks.on_output(projection.module, partial(self._scale, projection))

    def hear(self, weights: Tensor | None) -> None:
        """Say which weights (B,T) the coming call of the denoiser has; None, or all 1, is none."""
        plain = weights is None or bool((weights == 1).all())
        self._weights = {} if plain or weights is None else {weights.device: weights.float()}
        self._reached.clear()

    def check(self) -> None:
        """Raise GenerationError if the weights of the call that ends did not reach every block.

        Only the first weighted call is checked: caches may leave blocks out later.
        """
        if self._checked or not self._weights:
            return
        blocks = dict.fromkeys(each.name for each in self.projections)
        missed = [name for name in blocks if name not in self._reached]
        if missed:
            raise GenerationError(
                f"{len(missed)} of {len(blocks)} attention blocks of {self.title} computed no "
                f"values where they should (the first: {missed[0]}), so the weights did not act; another "
                "attention processor may compute them elsewhere: remove it, or use another rule"
            )
        self._checked = True

    def _scale(self, projection: Projection, _module: Any, _inputs: Any, output: Tensor) -> Tensor | None:
        if not self._weights:
            return None  # untouched, bit for bit
        self._reached.add(projection.name)
        if output.device not in self._weights:  # moved there once per call of the denoiser
            self._weights[output.device] = next(iter(self._weights.values())).to(output.device)
        scale_values(output[..., projection.columns], self._weights[output.device], projection.site)
        return output
