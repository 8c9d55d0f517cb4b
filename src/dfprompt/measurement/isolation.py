"""Work in batches: failures stay with the items that caused them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from dfprompt.errors import DFPromptError, RewardServerError

Item = TypeVar("Item")
Result = TypeVar("Result")


def attempt(
    work: Callable[[Sequence[Item]], Sequence[Result]], items: Sequence[Item]
) -> list[Result | DFPromptError]:
    """Return `work(items)`; where that raises, halve the batch until the error is one item's own.

    `work` returns one result per item. Only DFPromptError is taken for the item's failure; a reward's
    lost server (RewardServerError) is no item's, and passes.

    >>> attempt(lambda some: [10 // each for each in some], [2, 5])
    [5, 2]
    """
    if not items:
        return []
    try:
        return list(work(items))
    except RewardServerError:
        raise
    except DFPromptError as error:
        if len(items) == 1:
            return [error]
    middle = len(items) // 2
    return [*attempt(work, items[:middle]), *attempt(work, items[middle:])]
