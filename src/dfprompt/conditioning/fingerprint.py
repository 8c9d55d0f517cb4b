"""The full state of an encoder as a key: equal only while it would still give the same vectors.

Parameter version counters are not enough: adapters are fused and textual inversions written through
`.data`, which bumps no counter, and offloading moves parameters to new memory without changing
them. So the key holds a checksum of every parameter (one pass over memory, about 0.15 s per GB on a
CPU core) beside the state of the adapters. Large encoders get that pass only if a cheap look says that
something moved: place, version, all of every embedding table and small tensor, a sample of every large
one; and at every eighth look whatever it says. The tokenizer needs no key: texts are tokenised at every
call, and encodings are kept under the token ids.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable, Iterator
from hashlib import blake2b
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from dfprompt.errors import DFPromptWarning

_numbers = itertools.count()
_known: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
_WORD = 8  # bytes summed at a time
_BLOCK = 32  # words per block
_SMALL = 2**16  # bytes


_SAMPLE = 512  # words looked at in a large tensor
_LARGE = 2**26  # bytes of an encoder from which the cheap look pays
_LOOKS = 8  # after so many looks that found nothing new, everything is read again
# Hooks of these packages belong to their own machinery and change no vector.
_KNOWN_HOOKS = ("torch.", "transformers.", "accelerate.", "diffusers.", "peft.", "dfprompt.")


class _Looked(NamedTuple):
    """What a cheap look found, the full digest it stands for, and how many looks that has served."""

    found: str
    digest: str
    looks: int


_looked: WeakKeyDictionary[nn.Module, _Looked] = WeakKeyDictionary()


class _UnreadableError(Exception):
    """A tensor whose memory cannot be read."""


def fingerprint_module(module: nn.Module) -> str:
    """Return a digest of a text encoder: identity, mode, adapters and every parameter's content.

    A module with hooks of the user's own, which may do anything, or with tensors that cannot be read
    never has the same digest twice; the latter warns (DFPromptWarning) once.
    """
    if _has_foreign_hooks(module):
        return _unique()
    try:
        return _fingerprint(module)
    except _UnreadableError as error:
        # One text for all of them, so that it is shown once.
        warnings.warn(
            f"the weights of {type(module).__name__} cannot be read ({error}); its encodings are not kept "
            "from call to call",
            DFPromptWarning,
            stacklevel=2,
        )
        return _unique()


def _fingerprint(module: nn.Module) -> str:
    if _size(module) < _LARGE:
        return _full(module)
    found = _digest((*_state(module), *_places(module), *_checksums(module, _look)))
    before = _looked.get(module)
    if before is not None and before.found == found and before.looks < _LOOKS:
        _looked[module] = before._replace(looks=before.looks + 1)
        return before.digest
    digest = _full(module)
    _looked[module] = _Looked(found, digest, 0)
    return digest


def _full(module: nn.Module) -> str:
    return _digest((*_state(module), *_checksums(module, _checksum)))


def _state(module: nn.Module) -> tuple[Any, ...]:
    return _identity(module), module.training, tuple(_adapter_states(module))


def _unique() -> str:
    return f"unique {next(_numbers)}"


def _size(module: nn.Module) -> int:
    tensors = itertools.chain(module.parameters(), module.buffers())
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _has_foreign_hooks(module: nn.Module) -> bool:
    """Whether somebody put a hook on the encoder or exchanged a forward: it may steer what comes out."""
    for layer in module.modules():
        hooks = [*layer._forward_hooks.values(), *layer._forward_pre_hooks.values()]
        hooks += [layer.__dict__["forward"]] if "forward" in layer.__dict__ else []
        if not all(_home(hook).startswith(_KNOWN_HOOKS) for hook in hooks):
            return True
    return False


def _home(hook: Any) -> str:
    inner = getattr(hook, "func", hook)  # of a partial
    return f"{getattr(inner, '__module__', None) or type(inner).__module__}."


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


def _places(module: nn.Module) -> Iterator[tuple[int, int]]:
    """Yield where every tensor lies and how often it was written in the open."""
    for _, tensor in _stored_tensors(module):
        yield tensor.data_ptr(), -1 if tensor.is_inference() else tensor._version


def _checksums(module: nn.Module, measure: Callable[[Tensor, bool], Tensor]) -> Iterator[tuple[Any, ...]]:
    """Yield name, type and shape of every tensor, then the checksums of their memory."""
    small: dict[torch.device, list[Tensor]] = {}
    sums: dict[torch.device, list[Tensor]] = {}
    tables = {id(layer.weight) for layer in module.modules() if isinstance(layer, nn.Embedding)}
    for name, tensor in _stored_tensors(module):
        yield name, tensor.dtype, tuple(tensor.shape)
        if tensor.is_meta:
            continue
        raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
        if raw.numel() < _SMALL:  # many calls on little memory cost more than one on their sum
            small.setdefault(tensor.device, []).append(raw)
        else:
            sums.setdefault(tensor.device, []).append(measure(raw, id(tensor) in tables))
    for device, parts in small.items():
        sums.setdefault(device, []).append(_checksum(torch.cat(parts)))
    for parts in sums.values():
        yield tuple(torch.stack(parts).tolist())  # one transfer per device


def _look(raw: Tensor, whole: bool) -> Tensor:
    """Return a number of a sample of some bytes; of all of them if asked."""
    if whole:
        return _checksum(raw)
    words = _as_words(raw[: raw.numel() // _WORD * _WORD])
    return _weigh(words[:: max(1, words.numel() // _SAMPLE)])


def _stored_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, taken from where sequential offloading keeps them if they are away."""
    for prefix, layer in module.named_modules():
        for name, tensor in (*layer._parameters.items(), *layer._buffers.items()):
            if tensor is not None:
                stored = _fetch(layer, name, tensor) if tensor.is_meta else tensor
                yield from _plain_tensors(f"{prefix}.{name}", stored)


def _plain_tensors(name: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Yield a tensor, or those a quantised one is made of."""
    if type(tensor) in (Tensor, nn.Parameter, nn.Buffer):
        yield name, tensor
        return
    inner = tensor.detach()
    if type(inner) is Tensor:
        yield name, tensor
    elif hasattr(inner, "__tensor_flatten__"):
        for part in inner.__tensor_flatten__()[0]:
            yield from _plain_tensors(f"{name}.{part}", getattr(inner, part))
    else:
        yield name, _dequantise(inner)


def _dequantise(tensor: Tensor) -> Tensor:
    try:
        plain: Tensor = tensor.dequantize()
    except (AttributeError, NotImplementedError, RuntimeError, TypeError) as error:
        raise _UnreadableError(f"{type(tensor).__name__}: {error}") from error
    if type(plain) is not Tensor:
        raise _UnreadableError(type(tensor).__name__)
    return plain


def _fetch(layer: nn.Module, name: str, absent: Tensor) -> Tensor:
    hook = getattr(layer, "_hf_hook", None)
    for candidate in (hook, *getattr(hook, "hooks", ())):
        weights = getattr(candidate, "weights_map", None)
        if weights is not None:
            stored: Tensor = weights[name]
            return stored
    return absent


def _checksum(raw: Tensor, whole: bool = True) -> Tensor:
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
