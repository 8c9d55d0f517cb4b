"""Reading JSON strictly: decimals stay exact, every surprise is one PromptValueError."""

from __future__ import annotations

import json
from collections.abc import Mapping, Set
from decimal import Decimal
from typing import Any, NoReturn

from dfprompt.errors import PromptValueError
from dfprompt.excerpt import quote

VERSION = 1


def load_json(text: str) -> Any:
    """Return the value of a JSON text, its fractions as Decimal; raises PromptValueError.

    >>> load_json('{"weight": 0.1}')
    {'weight': Decimal('0.1')}
    """
    try:
        return json.loads(text, parse_float=Decimal, parse_constant=_refuse_constant)
    except (
        ValueError,
        RecursionError,
        ArithmeticError,
    ) as error:  # 1e9999999999999999999 is too much for a Decimal
        raise PromptValueError(f"this is not JSON ({type(error).__name__}): {quote(text)}") from error


def check_object(data: object, required: Set[str], optional: Set[str], what: str) -> Mapping[str, Any]:
    """Return `data` if it is an object with exactly these keys; `what` names it in the message."""
    if not isinstance(data, Mapping):
        raise PromptValueError(f"{what} must be a JSON object, not {quote(data)}")
    keys = set(data)
    for problem, names in (("lacks", required - keys), ("has unknown", keys - required - optional)):
        if names:
            listed = ", ".join(sorted(quote(name) for name in names))
            raise PromptValueError(
                f"{what} {problem} {listed}; its keys are {', '.join(sorted(required | optional))}"
            )
    return data


def check_version(data: Mapping[str, Any]) -> None:
    """Refuse an object of another version of the format."""
    if data.get("dfprompt") != VERSION:
        raise PromptValueError(
            f'"dfprompt" must be {VERSION}, not {quote(data.get("dfprompt"))}: another version wrote this'
        )


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")
