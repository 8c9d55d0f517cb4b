"""`--set section.key=value`: one assignment on top of a recipe, its value written as in TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from typing import Any

from dfprompt.config.problems import nearest
from dfprompt.errors import ConfigError
from dfprompt.excerpt import quote


def apply_assignments(recipe: dict[str, Any], assignments: Iterable[str]) -> tuple[dict[str, Any], list[str]]:
    """A copy of the recipe with the assignments made, and a line for each that could not be.

    >>> apply_assignments({"reward": {"c": 20}}, ["reward.c=5", "reward.clip=openai/clip"])
    ({'reward': {'c': 5, 'clip': 'openai/clip'}}, [])
    """
    changed, problems = _copied(recipe), []
    for assignment in assignments:
        try:
            path, value = parse_assignment(assignment)
            _put(changed, path, value, assignment)
        except ConfigError as error:
            problems.append(str(error))
    return changed, problems


def parse_assignment(assignment: str) -> tuple[list[str], Any]:
    """The path and the value of `section.key=value`; raises ConfigError for anything else.

    The value is read as TOML (`0.5`, `true`, `["a", "b"]`, `"text"`); what is not TOML is text.
    """
    key, equals, value = assignment.partition("=")
    path = [part.strip() for part in key.split(".")]
    if not equals or not all(path):
        raise ConfigError(f"--set {quote(assignment)}: expected section.key=value")
    return path, _parse_value(value.strip())


def _parse_value(text: str) -> Any:
    if "\n" in text:  # would let one assignment write further keys
        return text
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _put(recipe: dict[str, Any], path: list[str], value: Any, assignment: str) -> None:
    group: Any = recipe
    for depth, part in enumerate(path[:-1]):
        group = _step_into(group, part, ".".join(path[: depth + 1]), assignment)
    if isinstance(group, list):
        _step_into(group, path[-1], ".".join(path), assignment)  # the index must exist
        group[int(path[-1])] = value
    elif isinstance(group, dict):
        group[path[-1]] = value
    else:
        raise ConfigError(f"--set {quote(assignment)}: {'.'.join(path[:-1])} is a value, not a section")


def _step_into(group: Any, part: str, where: str, assignment: str) -> Any:
    if isinstance(group, dict):
        return group.setdefault(part, {})
    if isinstance(group, list) and part.isascii() and part.isdigit() and int(part) < len(group):
        return group[int(part)]
    if isinstance(group, list):
        known = [str(index) for index in range(len(group))]
        raise ConfigError(f"--set {quote(assignment)}: {where} is not in the list; {nearest(part, known)}")
    raise ConfigError(f"--set {quote(assignment)}: {where.rpartition('.')[0]} is a value, not a section")


def _copied(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    return [_copied(inner) for inner in value] if isinstance(value, list) else value
