"""Work in batches: failures stay with the items that caused them, warnings are said once for all batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeVar

from dfprompt.errors import DFPromptError, DFPromptWarning, RewardServerError

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


@contextmanager
def each_warning_once() -> Iterator[None]:
    """Show each of our warnings once in the block, however many batches repeat it."""
    said: set[str] = set()
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_once(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> None:
            if issubclass(category, DFPromptWarning):
                if str(message) in said:
                    return
                said.add(str(message))
            show(message, category, filename, lineno, file, line)

        warnings.showwarning = show_once
        yield
