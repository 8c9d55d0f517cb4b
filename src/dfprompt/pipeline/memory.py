"""Working in slices that shrink when memory runs out, without changing what comes out."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from dfprompt.errors import DFPromptWarning, GenerationError

Item = TypeVar("Item")
Result = TypeVar("Result")
_SAID = ("out of memory", "DefaultCPUAllocator: ", "could not create a primitive")


class Slices:
    """Runs work over slices of a list; the slice is halved for good whenever memory runs out.

    `size` is the greatest slice that has not failed. The work must give every item the same result
    whatever else is in its slice.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def run(self, work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]) -> list[Result]:
        """Return one result per item, in order; raises GenerationError if even one item does not fit.

        >>> Slices(2).run(lambda some: [2 * each for each in some], [1, 2, 3])
        [2, 4, 6]
        """
        results: list[Result] = []
        while len(results) < len(items):
            slice_ = items[len(results) : len(results) + self.size]
            try:
                results += work(slice_)
                continue
            except (RuntimeError, MemoryError) as error:
                if not ran_out_of_memory(error):
                    raise
                # The traceback holds the failed slice's tensors, so it must be gone before the next try.
                failure = str(error).splitlines()[0] if str(error) else type(error).__name__
            self._shrink(len(slice_), failure)
        return results

    def _shrink(self, failed: int, reason: str) -> None:
        free_memory()
        if failed == 1:
            raise GenerationError(
                f"out of memory drawing a single picture ({reason}); use a smaller --height and --width, "
                "--dtype float16, --offload model or sequential, or vae_tiling=True"
            )
        self.size = failed // 2
        warnings.warn(
            f"out of memory with {failed} pictures at once; going on with {self.size}, "
            "the pictures stay the same",
            DFPromptWarning,
            stacklevel=3,
        )


def ran_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory, of any device, is used up.

    >>> ran_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    True
    >>> ran_out_of_memory(RuntimeError("shapes do not match"))
    False
    """
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # The CPU allocator, oneDNN and Metal have no class of their own.
    return isinstance(error, RuntimeError) and any(said in str(error) for said in _SAID)


def free_memory() -> None:
    """Give back what the allocators hold without using it."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
