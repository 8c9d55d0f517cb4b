"""The full state of an encoder as a key: equal only while it would still give the same vectors.

Parameter version counters are not enough: adapters are fused and textual inversions written through
`.data`, which bumps no counter, and offloading moves parameters to new memory without changing
them. So the key holds a checksum of every parameter (one pass over memory, about 0.15 s per GB on a
CPU core) beside the state of the adapters. The tokenizer needs no key: texts are tokenised at every
call, and encodings are kept under the token ids.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

_numbers = itertools.count()
_known: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_WORD = 8  # bytes summed at a time
_BLOCK = 32  # words per block
_SMALL = 2**16  # bytes


def fingerprint_module(module: nn.Module) -> str:
    """Return a digest of a text encoder: identity, mode, adapters and every parameter's content."""
    state = (
        _identity(module),
        module.training,
        tuple(_adapter_states(module)),
        tuple(_checksums(module)),
    )
    return _digest(state)


def _digest(state: tuple[Any, ...]) -> str:
    return blake2b(repr(state).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _identity(thing: Any) -> int:
    """A number no other object ever had; `id` is reused once an object is gone."""
    if thing not in _known:
        _known[thing] = next(_numbers)
    return _known[thing]


def _adapter_states(module: nn.Module) -> Iterator[tuple[Any, ...]]:
    """The state of every peft layer: what is active, how strongly, disabled, merged."""
    for name, layer in module.named_modules():
        if not hasattr(type(layer), "merged_adapters"):  # what every peft layer has
            continue
        scaling = getattr(layer, "scaling", {})
        yield (
            name,
            tuple(layer.active_adapters),
            tuple(sorted(scaling.items())),
            layer.disable_adapters,
            tuple(layer.merged_adapters),
        )


def _checksums(module: nn.Module) -> Iterator[tuple[Any, ...]]:
    """Yield name, type and shape of every tensor, then the checksums of their memory."""
    small: dict[torch.device, list[Tensor]] = {}
    sums: dict[torch.device, list[Tensor]] = {}
    for name, tensor in _stored_tensors(module):
        yield name, tensor.dtype, tuple(tensor.shape)
        if tensor.is_meta:
            continue
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if raw.numel() < _SMALL:  # many calls on little memory cost more than one on their sum
            small.setdefault(tensor.device, []).append(raw)
        else:
            sums.setdefault(tensor.device, []).append(_checksum(raw))
    for device, parts in small.items():
        sums.setdefault(device, []).append(_checksum(torch.cat(parts)))
    for parts in sums.values():
        yield tuple(torch.stack(parts).tolist())  # one transfer per device


def _stored_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, taken from where sequential offloading keeps them if they are away."""
    for prefix, layer in module.named_modules():
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                yield f"{prefix}.{name}", _fetch(layer, name, tensor) if tensor.is_meta else tensor


def _fetch(layer: nn.Module, name: str, absent: Tensor) -> Tensor:
    hook = getattr(layer, "_hf_hook", None)
    for candidate in (hook, *getattr(hook, "hooks", ())):
        weights = getattr(candidate, "weights_map", None)
        if weights is not None:
            stored: Tensor = weights[name]
            return stored
    return absent


def _checksum(raw: Tensor) -> Tensor:
    """Return a 64-bit number of some bytes that changes with any of them and with the order of blocks.

    Each block of memory words is summed, the sums multiplied by odd factors of their place and
    added up, modulo 2^64.
    """
    whole = raw.numel() // (_WORD * _BLOCK) * (_WORD * _BLOCK)
    blocks = _as_words(raw[:whole]).view(-1, _BLOCK).sum(dim=1)
    return _weigh(blocks) + _weigh(raw[whole:].to(torch.int64))


def _weigh(sums: Tensor) -> Tensor:
    return (sums * (2 * torch.arange(sums.numel(), device=sums.device) + 1)).sum()


def _as_words(raw: Tensor) -> Tensor:
    # Memory that does not start at a multiple of eight bytes cannot be viewed as words.
    aligned = raw if raw.storage_offset() % _WORD == 0 and raw.data_ptr() % _WORD == 0 else raw.clone()
    return aligned.view(torch.int64)
