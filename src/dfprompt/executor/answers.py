"""What a worker answers: a result or an exception that can travel, and the warnings beside it."""

from __future__ import annotations

import pickle
import traceback
import warnings
from dataclasses import dataclass
from typing import Any

from dfprompt.errors import DFPromptError, DFPromptWarning, ExecutorError


@dataclass(frozen=True)
class Answer:
    """One item's result, or the exception it ended with; `said` are the warnings meant for the user."""

    result: Any = None
    error: Exception | None = None
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Lost:
    """A worker that will answer no more, and why, as a clause."""

    reason: str


def compute_answer(message: bytes) -> bytes:
    """Call the pickled (function, item); whatever that raises becomes the pickled answer.

    MemoryError passes: the process is spoilt.

    >>> pickle.loads(compute_answer(pickle.dumps((abs, -2)))).result
    2
    >>> type(pickle.loads(compute_answer(pickle.dumps((abs, "x")))).error).__name__
    'TypeError'
    """
    with warnings.catch_warnings(record=True) as recorded:
        warnings.simplefilter("always", DFPromptWarning)
        result, failure = None, None
        try:
            fn, item = pickle.loads(message)
            result = fn(item)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001 - it is raised again, by whoever asked
            failure = _portable(error)
    said = [str(each.message) for each in recorded if issubclass(each.category, DFPromptWarning)]
    try:
        return pickle.dumps(Answer(result, failure, tuple(dict.fromkeys(said))))
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        return pickle.dumps(Answer(error=ExecutorError(f"a worker's result cannot travel: {error}")))


def _portable(error: Exception) -> Exception:
    """Return the exception, with where it came from if nobody meant to raise it; or one that can travel."""
    told = "".join(traceback.format_exception(error))
    if not isinstance(error, DFPromptError):
        error.add_note(f"in a worker:\n{told}")
    try:
        again = pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - an exception's own pickling may raise anything
        again = None
    if type(again) is type(error):
        return error
    return ExecutorError(f"a worker raised {type(error).__name__}: {error}\n{told}")
