"""Encodings kept across calls: least recently used first out, within a byte budget."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import NamedTuple

from torch import Tensor

from dfprompt.errors import ConfigError

DEFAULT_MAX_BYTES = 256 * 2**20


class Encoding(NamedTuple):
    """What an encoder makes of a text: `sequence` (T,D) and `pooled` (P,), empty where unused."""

    sequence: Tensor
    pooled: Tensor

    @property
    def bytes(self) -> int:
        """The memory the tensors take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self)


class EncodingCache:
    """Least-recently-used store of encodings with a byte budget; safe to share between threads.

    Raises ConfigError for a negative budget. A budget of 0 keeps nothing.

    >>> import torch
    >>> cache = EncodingCache(max_bytes=0)
    >>> cache.put("a cat", Encoding(torch.zeros(77, 4), torch.zeros(0)))
    >>> len(cache)
    0
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_BYTES) -> None:
        if max_bytes < 0:
            raise ConfigError(f"a cache needs a budget of 0 bytes or more, not {max_bytes}")
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, Encoding] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def get(self, key: Hashable) -> Encoding | None:
        """Return what is kept under the key, and mark it as just used."""
        with self._lock:
            encoding = self._kept.get(key)
            if encoding is not None:
                self._kept.move_to_end(key)
            return encoding

    def put(self, key: Hashable, encoding: Encoding) -> None:
        """Keep an encoding; the least recently used ones go if the budget asks for it."""
        with self._lock:
            replaced = self._kept.pop(key, None)
            self._bytes -= replaced.bytes if replaced is not None else 0
            self._kept[key] = encoding
            self._bytes += encoding.bytes
            while self._bytes > self.max_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].bytes

    def clear(self) -> None:
        """Forget everything, as training does before each batch of pictures so that a resumed run repeats."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    @property
    def bytes(self) -> int:
        """The memory the kept tensors take."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)


# Shared by every call that names no cache of its own.
SHARED_CACHE = EncodingCache()
