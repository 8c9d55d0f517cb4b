"""Validation problems as text for people: every one at once, unknown names with the nearest match."""

from __future__ import annotations

import difflib
import types
from collections.abc import Iterator, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from dfprompt.excerpt import quote


def describe_problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per problem of a failed validation: the key, what is wrong, the value that was given."""
    return [_describe(detail["loc"], detail, model) for detail in error.errors(include_url=False)]


def nearest(name: str, known: Sequence[str]) -> str:
    """`did you mean "x"?` when one of the known names is close; otherwise the known names.

    >>> nearest("zetta", ["zeta", "kappa"])
    'did you mean "zeta"?'
    """
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"known here: {', '.join(known)}" if known else "nothing can be set here"


def _describe(path: tuple[int | str, ...], detail: Any, model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in path) or "the recipe"
    if detail["type"] == "extra_forbidden":
        return f"{key}: unknown key; {nearest(str(path[-1]), _fields_at(model, path[:-1]))}"
    if detail["type"] == "missing":
        return f"{key}: required, but not given"
    return f"{key}: {_plain(detail['msg'])}, got {quote(detail['input'])}"


def _plain(message: str) -> str:
    """Pydantic's sentence in the middle of ours."""
    message = message.removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return message[:1].lower() + message[1:]


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """The field names of the group that a path leads to."""
    groups = [model]
    for part in path:
        if isinstance(part, int):
            continue  # an index into a list of groups: the group's class was found one step before
        inner = [group.model_fields[part].annotation for group in groups if part in group.model_fields]
        groups = [found for annotation in inner for found in _models_in(annotation)] or groups
    return sorted({name for group in groups for name in group.model_fields})


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The model classes inside a type: `Group`, `Group | None`, `list[Group]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in (Union, types.UnionType, list, tuple, dict) or get_args(annotation):
        for argument in get_args(annotation):
            yield from _models_in(argument)
