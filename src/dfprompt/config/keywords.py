"""Keywords that a function does not take are answered with the nearest that it does."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from dfprompt.config.problems import nearest
from dfprompt.errors import ConfigError

P = ParamSpec("P")
Result = TypeVar("Result")


def names_keywords(function: Callable[P, Result]) -> Callable[P, Result]:
    """Return a function that raises ConfigError, with the nearest name, for a keyword it does not take.

    >>> @names_keywords
    ... def draw(prompt: str, *, seed: int = 0) -> int:
    ...     return seed
    >>> draw("a cat", sed=1)
    Traceback (most recent call last):
        ...
    dfprompt.errors.ConfigError: draw takes no sed; did you mean "seed"?
    """
    known = list(inspect.signature(function).parameters)

    @functools.wraps(function)
    def checked(*given: P.args, **keywords: P.kwargs) -> Result:
        for name in keywords:
            if name not in known:
                raise ConfigError(f"{function.__name__} takes no {name}; {nearest(name, known)}")
        return function(*given, **keywords)

    return checked
