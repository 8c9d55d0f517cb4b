"""Work in batches: failures stay with the items that caused them, and no batch knows of another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from dfprompt.conditioning.cache import SHARED_CACHE
from dfprompt.errors import DFPromptError, RewardServerError
from dfprompt.rewards import Reward, as_score

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


def forget(scores: Iterable[Reward]) -> None:
    """Drop encodings of earlier batches.

    Their last bits depend on the texts they were encoded among. A batch must come to the same bits in a run
    that was resumed, and in a worker that has not seen the batches before it.

    >>> forget([])
    """
    SHARED_CACHE.clear()
    for score in scores:
        for tower in as_score(score).towers():
            tower.forget_texts()
