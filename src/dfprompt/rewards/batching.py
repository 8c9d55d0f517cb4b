"""Work in rows that fit into memory."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dfprompt.errors import RewardError

# On a CPU a slice shall stay in the cache (16 MiB ran 1.3 times as fast as whole batches of 32 at the mini
# size), but a large model shall not read its weights anew for each picture. Fixed, so that every run
# splits its batches in the same way.
_CPU_BUDGET = 2**24
_FEWEST_ON_CPU = 4
_LARGEST = 256


def rows_that_fit(bytes_per_row: int, device: torch.device) -> int:
    """How many rows to compute at once: half the free memory of a GPU, the cache of a CPU; 256 at most.

    >>> rows_that_fit(2**20, torch.device("cpu"))
    16
    """
    if device.type == "cuda":
        fewest, budget = 1, torch.cuda.mem_get_info(device)[0] // 2
    else:
        fewest, budget = _FEWEST_ON_CPU, _CPU_BUDGET
    return max(fewest, min(_LARGEST, budget // max(1, bytes_per_row)))


def map_rows(compute: Callable[[slice], Tensor], rows: int, at_once: int) -> Tensor:
    """Concatenate `compute` over slices of `at_once` rows; out of memory halves them and goes on.

    Raises RewardError when one row alone does not fit.
    """
    parts: list[Tensor] = []
    done = 0
    while done < rows:
        try:
            parts.append(compute(slice(done, min(rows, done + at_once))))
            done += at_once
        except torch.OutOfMemoryError as error:
            if at_once == 1:
                raise RewardError("out of memory with one picture at a time; use a smaller dtype") from error
            at_once //= 2
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
    return torch.cat(parts)
