"""The arguments of a module call as slots: places named by a path, whose values are compared and replaced."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from dfprompt.conditioning.ownership import Arguments

# A positional argument's number or a keyword, then the keys of the dicts inside it.
Path = tuple[int | str, ...]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


ABSENT = _Absent()


def spread(arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[Path, Any]:
    """Return every slot of a call; dicts are entered, everything else is one value.

    >>> spread([1], {"kwargs": {"scale": 2}})
    {(0,): 1, ('kwargs', 'scale'): 2}
    """
    return dict(_walk((), {**dict(enumerate(arguments)), **keywords}))


def _walk(path: Path, values: Mapping[Any, Any]) -> Iterator[tuple[Path, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and value:
            yield from _walk((*path, name), value)
        else:
            yield (*path, name), value


def replace_slots(
    arguments: Sequence[Any], keywords: Mapping[str, Any], changes: Mapping[Path, Any]
) -> Arguments:
    """Return the call with these slots changed; the dicts of the caller stay as they are.

    >>> replace_slots([1], {"kwargs": {"scale": 2}}, {("kwargs", "scale"): 3})
    ((1,), {'kwargs': {'scale': 3}})
    """
    values: dict[Any, Any] = {**dict(enumerate(arguments)), **keywords}
    for path, value in changes.items():
        values = _changed(values, path, value)
    return tuple(values.pop(number) for number in range(len(arguments))), values


def _changed(values: dict[Any, Any], path: Path, value: Any) -> dict[Any, Any]:
    name, *rest = path
    if rest:
        return {**values, name: _changed(values.get(name) or {}, tuple(rest), value)}
    if value is ABSENT and not isinstance(name, int):
        return {key: each for key, each in values.items() if key != name}
    return {**values, name: None if value is ABSENT else value}


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal to the bit; what cannot be compared counts as equal.

    >>> same([torch.ones(2), None], [torch.ones(2), None]), same(torch.ones(2), torch.ones(3))
    (True, False)
    """
    if one is other:
        return True
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return _same_tensors(one, other)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if one is ABSENT or other is ABSENT or one is None or other is None:
        return False
    return not isinstance(one, bool | int | float | str) or one == other


def _same_tensors(one: Any, other: Any) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return False
    alike = one.shape == other.shape and one.dtype == other.dtype and one.device == other.device
    return alike and torch.equal(one, other)


def keep(value: Any) -> Any:
    """Return a copy that later changes in place do not reach."""
    if isinstance(value, torch.Tensor):
        return value.detach().clone()
    if isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)(keep(each) for each in value)
    return value


def take_rows(value: Any, rows: slice) -> Any:
    """Return some rows of a batch: of a tensor's first dimension, or of a list with one entry per row."""
    if isinstance(value, torch.Tensor) and value.ndim:
        return value[rows]
    return value[rows] if isinstance(value, list) else value


def name_slot(path: Path) -> str:
    """Return a slot's name for messages."""
    return ".".join(map(str, path))
